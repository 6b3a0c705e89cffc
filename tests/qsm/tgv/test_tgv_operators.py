"""The sweep's operators: adjoint to each other, exact on polynomials, and on nothing outside the mask."""

from __future__ import annotations

import numpy as np
import pytest

from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.iteration import Iteration, _equation_norm, balance, prepare
from qsmxt_app.qsm.tgv.layout import LANES
from qsmxt_app.qsm.tgv.problem import build_problem, stencil_coefficients

PRIMAL = slice(sweep.PHI, sweep.WZ + 1)


STRAIGHT, TILTED = (0.0, 0.0, 1.0), (0.3, -0.5, 0.81)


def ragged_mask(shape=(17, 14, 21), seed=3):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    mask = (grid**2).sum(0) < 0.9
    mask &= rng.random(shape) > 0.1
    mask[: shape[0] // 3, 5, :] = False
    mask[8, 7, 5:12] = False
    return mask


def set_up(b0_direction, voxel_size, *, extend=True, threads=1, mask=None) -> Iteration:
    mask = ragged_mask() if mask is None else mask
    data = np.zeros(mask.shape, np.float32)
    problem = build_problem(data, mask, None, voxel_size=voxel_size, b0_direction=b0_direction, extend=extend)
    return prepare(problem, threads=threads)


def apply(iteration: Iteration, primal):
    """K x, through a sweep that holds the primal variables still and projects nothing."""
    problem = iteration.problem
    c, state = problem.coefficients, problem.state
    c[sweep.C_TAU_PHI : sweep.C_TAU_W + 1] = 0
    c[sweep.C_SIGMA_P] = c[sweep.C_SIGMA_Q] = c[sweep.C_RELAX] = c[sweep.C_RIM] = 1
    c[sweep.C_ALPHA_1] = c[sweep.C_ALPHA_0] = 1e9
    state[: sweep.WEIGHT] = 0
    state[PRIMAL] = primal
    iteration.sweep()
    return (
        state[sweep.RESIDUAL].copy(),
        state[sweep.PX : sweep.PZ + 1].copy(),
        state[sweep.QXX : sweep.ETA].copy(),
    )


def apply_adjoint(iteration: Iteration, eta, p, q):
    """K' y, through the primal half of a sweep that starts at zero."""
    problem = iteration.problem
    c, state = problem.coefficients, problem.state
    c[sweep.C_TAU_PHI : sweep.C_TAU_W + 1] = c[sweep.C_RELAX] = 1
    c[sweep.C_SIGMA_P] = c[sweep.C_SIGMA_Q] = 0
    state[PRIMAL] = 0
    held = state[sweep.WEIGHT] >= sweep.HELD
    state[sweep.WEIGHT] = np.where(held, state[sweep.WEIGHT], 0)
    state[sweep.ETA], state[sweep.PX : sweep.PZ + 1], state[sweep.QXX : sweep.ETA] = eta, p, q
    iteration.sweep()
    return -state[PRIMAL].copy()


@pytest.mark.parametrize("b0_direction", [STRAIGHT, TILTED])
@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.8, 0.9, 2.1)])
@pytest.mark.parametrize("extend", [True, False])
def test_adjoint(b0_direction, voxel_size, extend):
    """<K x, y> = <x, K' y> for the equation, the gradient and the symmetrised gradient together."""
    iteration = set_up(b0_direction, voxel_size, extend=extend)
    state = iteration.problem.state
    rng = np.random.default_rng(1)
    flat, _ = iteration.problem.rows.positions
    free = flat[state[sweep.WEIGHT][flat] < sweep.HELD]
    x = np.zeros((5, state.shape[1]), np.float32)
    x[:, free] = rng.standard_normal((5, free.size))
    # duals only where they exist, as the iteration keeps them: the pattern of K applied to something dense
    dense = np.zeros_like(x)
    dense[:, flat] = rng.standard_normal((5, flat.size))
    y = [
        np.where(part != 0, rng.standard_normal(part.shape), 0).astype(np.float32)
        for part in apply(iteration, dense)
    ]
    kx = apply(iteration, x)
    twice = np.array([1, 1, 1, 2, 2, 2])[:, None]  # a symmetric matrix holds its mixed entries twice
    for name, chosen in {"equation": (1, 0, 0), "gradient": (0, 1, 0), "symmetrised": (0, 0, 1)}.items():
        part = [on * dual for on, dual in zip(chosen, y, strict=True)]
        left = np.vdot(kx[0].astype(float), part[0]) + np.vdot(kx[1].astype(float), part[1])
        left += np.vdot(kx[2].astype(float) * twice, part[2])
        right = np.vdot(x.astype(float), apply_adjoint(iteration, *part))
        size = np.linalg.norm(x) * np.sqrt(sum(np.sum(d.astype(float) ** 2) for d in part))
        assert abs(left - right) < 1e-5 * size, name
        assert abs(left) > 1e-4 * size, name


def test_rows_hold_whole_vectors():
    """Every row starts and stops at a vector's edge with an empty voxel, and survives a copy."""
    mask = ragged_mask()
    rows = set_up(STRAIGHT, (1.0, 1.0, 1.0), mask=mask).problem.rows
    assert not ((rows.base + rows.start) % LANES).any()
    assert not ((rows.stop - rows.start) % LANES).any()
    volume = np.where(mask, np.random.default_rng(0).standard_normal(mask.shape), 0).astype(np.float32)
    flat = rows.flatten(rows.to_box(volume))
    ends = np.concatenate([(rows.base + rows.start).ravel(), (rows.base + rows.stop - 1).ravel()])
    assert not flat[ends[np.tile((rows.stop > rows.start).ravel(), 2)]].any()
    assert np.array_equal(rows.to_volume(rows.unflatten(flat)), volume)


@pytest.mark.parametrize("factor", [0.3, 2.0])
def test_norm_for_another_step_is_bounded_by_the_known_one(factor):
    """Rebalancing takes no new power iteration: the product of steps and norm stays below one."""
    mask = np.ones((30, 28, 26), bool)
    iteration = set_up(TILTED, (1.0, 1.0, 1.3), mask=mask)
    c = iteration.problem.coefficients
    c[sweep.C_ALPHA_1], c[sweep.C_ALPHA_0] = 1e-4, 6e-5
    balance(iteration, 0.05)
    balance(iteration, 0.05 * factor)
    tau_phi, tau_chi, sigma_eta = (float(c[k]) for k in (sweep.C_TAU_PHI, sweep.C_TAU_CHI, sweep.C_SIGMA_ETA))
    exact = _equation_norm(iteration, tau_phi, tau_chi, steps=200)
    assert 0.2 < sigma_eta * exact < 0.51


@pytest.mark.parametrize("wave_voxels", [8, 11, 16, 32])
def test_kernel_is_the_dipole_kernel_for_waves_along_and_across_a_tilted_field(wave_voxels):
    """Ratio of the symbols of wave operator and Laplacian, against 1/3 less the squared cosine."""
    b = np.array([0.0, 0.5, np.sqrt(0.75)])
    c = stencil_coefficients((1.0, 1.0, 1.0), b).astype(float)
    for direction in (b, [0, b[2], -b[1]], [1, 0, 0], [0, 0, 1]):
        k = 2 * np.pi / wave_voxels * np.asarray(direction)
        second, first = 2 - 2 * np.cos(k), np.sin(k)
        mixed = 4 * np.array([first[0] * first[1], first[0] * first[2], first[1] * first[2]])
        wave = c[sweep.C_WX : sweep.C_WZ + 1] @ second + c[sweep.C_WXY : sweep.C_WYZ + 1] @ mixed
        kernel = wave / (c[sweep.C_LX : sweep.C_LZ + 1] @ second)
        assert kernel == pytest.approx(1 / 3 - (b @ direction) ** 2, abs=0.02)
