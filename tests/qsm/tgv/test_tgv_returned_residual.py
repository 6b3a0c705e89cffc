"""What is given back to the data in noise restores lost contrast."""

import numpy as np
import pytest
import scipy.ndimage

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv import TGVOptions, solve_tgv, sweep
from qsmxt_app.qsm.tgv.problem import build_problem
from qsmxt_app.qsm.tgv.returned_residual import return_residual

OBLIQUE = np.array([0.4, -0.5, np.sqrt(1 - 0.41)], np.float32)


def small_nuclei(noise, b0_direction):
    """Cubes of three voxels and 0.1 ppm, and the Laplacian of their noisy field."""
    rng = np.random.default_rng(3)
    shape = (40, 44, 36)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    mask = (grid**2).sum(axis=0) < 0.85
    chi = np.zeros(shape, np.float32)
    for x, y, z in rng.integers(11, 24, (14, 3)):
        chi[x : x + 3, y : y + 3, z : z + 3] = 0.1
    field = forward_field(chi, voxel_size=(1, 1, 1), b0_direction=b0_direction)
    field = field + noise * rng.standard_normal(shape).astype(np.float32)
    data = sum(np.roll(field, s, a) - field for a in range(3) for s in (1, -1))
    return chi, mask, data.astype(np.float32)


def contrast_and_error(noise, edge=1.0, **options):
    """Regression slope of the map on the truth, and its error over the truth's standard deviation."""
    chi, mask, data = small_nuclei(noise, OBLIQUE)
    result = solve_tgv(
        data / np.float32(edge**2), mask, voxel_size=(edge,) * 3, b0_direction=OBLIQUE,
        noise=np.full(mask.shape, noise, np.float32), options=TGVOptions(**options),
    )  # fmt: skip
    found, truth = result.chi[mask] - result.chi[mask].mean(), chi[mask] - chi[mask].mean()
    return found @ truth / (truth @ truth), np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_what_is_given_back_restores_contrast_at_less_noise_than_weaker_regularisation():
    bare, _ = contrast_and_error(0.004, edge=3.0, returned_share=0.0)
    slope, error = contrast_and_error(0.004, edge=3.0)
    weaker, weaker_error = contrast_and_error(0.004, edge=3.0, returned_share=0.0, alpha=(0.0009, 0.0027))
    assert bare < weaker < slope < 1
    assert error < 0.85 * weaker_error


def problem_with_noise():
    _, mask, data = small_nuclei(0.001, OBLIQUE)
    problem = build_problem(data, mask, None, voxel_size=(1, 1, 1), b0_direction=OBLIQUE)
    rng = np.random.default_rng(0)
    domain = problem.flags & (sweep.EQUATION | sweep.RIM) != 0
    for variable in (sweep.PHI, sweep.CHI):
        problem.state[variable, domain] = rng.standard_normal(np.count_nonzero(domain))
    return problem


def test_residual_comes_back_as_its_laplacian():
    """A residual field that is harmonic in the mask has none; a parabola's is constant."""
    problem = problem_with_noise()
    rows = problem.rows
    x, y, _ = np.meshgrid(*[np.arange(n) - n / 2 for n in rows.shape], indexing="ij")
    deep = scipy.ndimage.binary_erosion(rows.unflatten(problem.flags & sweep.EQUATION != 0), iterations=5)
    for image, expected in ((x**2 - y**2, 0.0), (x**2 + y**2, -2.0)):
        problem.state[sweep.PHI] = rows.flatten(image.astype(np.float32))
        before = problem.state[sweep.LAPLACIAN].copy()
        return_residual(problem, 0.5)
        assert rows.unflatten(problem.state[sweep.LAPLACIAN] - before)[deep] == pytest.approx(
            expected, abs=0.05
        )
