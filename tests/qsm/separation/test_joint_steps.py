"""Steps of the joint separation against definitions: adjoint operators, and minima found by other means."""

import numpy as np
import pytest
from scipy.optimize import minimize

from qsmxt_app.qsm.separation.data_step import nearest_sources
from qsmxt_app.qsm.separation.pair_variation import gradient_adjoint_at, step_duals, step_vectors

SIZE = np.array([1.0, 0.8, 2.0], np.float32)
SHAPE = (9, 8, 7)


def mask():
    inside = np.zeros(SHAPE, bool)
    inside[1:-1, 1:-1, 1:-1] = np.random.default_rng(1).random((7, 6, 5)) < 0.8
    return inside


def random(*leading):
    values = np.random.default_rng(len(leading) + sum(leading)).normal(size=(*leading, *SHAPE))
    return (values * mask()).astype(np.float32)


def product(a, b, weights=1.0):
    return float((np.asarray(weights).reshape(-1, 1, 1, 1) * a.astype(float) * b).sum())


def ascended(x, w):
    """Both operators at x and w: an ascent of step 1 from zero that no bound stops."""
    y, z = np.zeros((2, 3, *SHAPE), np.float32), np.zeros((2, 6, *SHAPE), np.float32)
    one, far = np.float32(1), np.float32(1e9)
    step_duals(x, w, y, z, mask(), 1 / SIZE, one, far, far)
    return y, z


def test_gradient_and_its_adjoint():
    x, y = random(2), random(2, 3)
    gradient, _ = ascended(x, np.zeros((2, 3, *SHAPE), np.float32))
    adjoint = np.zeros_like(x)
    for c, i, j, k in np.argwhere(np.broadcast_to(mask(), x.shape)):
        adjoint[c, i, j, k] = gradient_adjoint_at(y, mask(), 1 / SIZE, c, i, j, k)
    assert product(gradient, y) == pytest.approx(product(x, adjoint), rel=1e-4)


def test_symmetrised_gradient_and_its_adjoint():
    w, z = random(2, 3), random(2, 6)
    _, symmetrised = ascended(np.zeros((2, *SHAPE), np.float32), w)
    stepped = np.zeros_like(w)
    step_vectors(stepped, np.zeros_like(w), np.zeros_like(w), z, mask(), 1 / SIZE, np.float32(1))
    # elements off the diagonal stand for two
    both = sum(product(symmetrised[c], z[c], [1, 1, 1, 2, 2, 2]) for c in range(2))
    assert both == pytest.approx(-product(w[0], stepped[0]) - product(w[1], stepped[1]), rel=1e-4)


def test_a_linear_ramp_has_a_gradient_and_no_second_derivative():
    ramp = np.zeros((2, *SHAPE), np.float32)
    ramp[0] = np.arange(SHAPE[0])[:, None, None] * SIZE[0] * 0.5
    w = np.zeros((2, 3, *SHAPE), np.float32)
    w[0, 0] = 0.5
    gradient, symmetrised = ascended(ramp, w)
    inner = mask() & np.roll(mask(), -1, 0)
    np.testing.assert_allclose(gradient[0, 0][inner], 0, atol=1e-6)
    assert abs(symmetrised).max() < 1e-6


def test_duals_stay_within_their_bounds_over_both_images():
    y, z = random(2, 3), random(2, 6)
    step_duals(
        random(2), random(2, 3), y, z, mask(), 1 / SIZE, np.float32(3), np.float32(0.7), np.float32(0.3)
    )
    inside = mask()
    assert np.sqrt((y**2).sum((0, 1)))[inside].max() <= 0.7001
    weights = np.array([1, 1, 1, 2, 2, 2]).reshape(1, 6, 1, 1, 1)
    assert np.sqrt((weights * z**2).sum((0, 1)))[inside].max() <= 0.3001


@pytest.mark.parametrize("seed", range(60))
def test_data_step_finds_the_minimum(seed):
    rng = np.random.default_rng(seed)
    p, m, chi = rng.normal(0.5, 2, 3)
    total, chi_weight, total_weight = abs(rng.normal(0, 3)), *rng.uniform(0.1, 5, 2)
    limit, step = rng.uniform(0.2, 2), rng.uniform(0.1, 3)

    def cost(x):
        off = abs(x[0] + x[1] - total)
        huber = off**2 / 2 if off <= limit else limit * (off - limit / 2)
        data = chi_weight / 2 * (x[0] - x[1] - chi) ** 2 + total_weight * huber
        return data + ((x[0] - p) ** 2 + (x[1] - m) ** 2) / (2 * step)

    given = (np.float32(v) for v in (p, m, chi, chi_weight, total, total_weight, limit, step))
    found = np.array(nearest_sources.py_func(*given), float)
    assert (found >= 0).all()
    starts = [(1, 0), (0, 1), (2, 2), np.maximum(found, 0)]
    best = min((minimize(cost, s, bounds=[(0, None)] * 2, tol=1e-12) for s in starts), key=lambda r: r.fun)
    assert cost(found) <= best.fun + 1e-4 * (1 + abs(best.fun))
