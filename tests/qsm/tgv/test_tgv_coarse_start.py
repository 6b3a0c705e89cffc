"""The start from half the resolution: exact where it can be, and closer to the truth in fewer iterations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv import TGVOptions, coarse_start, solve_tgv, sweep
from qsmxt_app.qsm.tgv.coarse_start import continue_on, halve
from qsmxt_app.qsm.tgv.problem import Problem, build_problem

TILTED = (0.3, -0.2, 0.93)


def ball(shape=(37, 44, 41)):
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    return (grid**2).sum(0) < 0.9


def problem_of(mask, voxel_size=(1.0, 1.0, 1.0), axes=None) -> Problem:
    data = np.zeros(mask.shape, np.float32)
    return build_problem(data, mask, None, voxel_size=voxel_size, b0_direction=TILTED, axes=axes)


def plane(shape, edge):
    """A linear function of position at the centres of voxels."""
    x, y, z = (edge * (np.arange(n) + 0.5) for n in shape)
    return (0.3 * x[:, None, None] - 0.2 * y[:, None] + 0.1 * z + 1).astype(np.float32)


@pytest.fixture
def small_problems_too(monkeypatch):
    monkeypatch.setattr(coarse_start, "SMALLEST", 500)


def test_linear_maps_are_continued_exactly(small_problems_too):
    """chi as it is, w in the new unit of length, both unbiased beside the end of the coarse mask."""
    mask = ball()
    weight = np.ones(mask.shape, np.float32)
    data, coarse_mask, coarse_weight, _ = halve(plane(mask.shape, 1), mask, weight, None)
    inner = scipy.ndimage.binary_erosion(coarse_mask, iterations=2)
    assert np.allclose(data[inner], plane(data.shape, 2)[inner], atol=1e-4)
    assert np.allclose(coarse_weight[coarse_mask], 1)
    fine = problem_of(mask)
    coarse = problem_of(coarse_mask, (2.0, 2.0, 2.0), fine.rows.axes)
    for variable, expected in ((sweep.CHI, plane(mask.shape, 1)), (sweep.WY, 0.5 * plane(mask.shape, 1))):
        box = coarse.rows.to_box(plane(coarse_mask.shape, 2))
        coarse.state[variable] = coarse.rows.flatten(box)
        continue_on(coarse, fine)
        found = fine.rows.to_volume(fine.rows.unflatten(fine.state[variable]))
        deep = scipy.ndimage.binary_erosion(mask, iterations=5)
        assert np.allclose(found[deep], expected[deep], atol=1e-4)
        assert np.abs(found - expected)[mask].max() < 2.5
        assert not fine.state[variable][fine.state[sweep.WEIGHT] >= sweep.HELD].any()


def test_duals_exist_only_where_they_may(small_problems_too):
    mask = ball()
    _, coarse_mask, _, tissue = halve(plane(mask.shape, 1), mask, None, mask)
    np.testing.assert_array_equal(tissue[coarse_mask], True)
    fine = problem_of(mask)
    coarse = problem_of(coarse_mask, (2.0, 2.0, 2.0), fine.rows.axes)
    coarse.state[sweep.PX : sweep.ETA + 1] = 1
    continue_on(coarse, fine)
    for variable, bit, scale in ((sweep.PX, sweep.P_X, 2), (sweep.QXY, sweep.Q_XY, 4), (sweep.ETA, 1, 4)):
        assert not fine.state[variable][fine.flags & bit == 0].any()
        assert fine.state[variable].max() == scale


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.8, 0.9, 1.3)])
def test_a_start_is_worth_more_than_as_many_iterations(monkeypatch, voxel_size):
    """A smooth map over an odd volume in a tilted field: a quarter of the iterations comes closer to it."""
    mask = ball()
    rng = np.random.default_rng(2)
    chi = scipy.ndimage.gaussian_filter(rng.standard_normal(mask.shape), 3) * mask
    chi = (0.05 * chi / chi.std()).astype(np.float32)
    field = forward_field(chi, voxel_size=voxel_size, b0_direction=TILTED)
    field += (5e-4 * rng.standard_normal(mask.shape)).astype(np.float32)
    data = sum(
        (np.roll(field, 1, a) + np.roll(field, -1, a) - 2 * field) / np.float32(h**2)
        for a, h in enumerate(voxel_size)
    )
    given = {"voxel_size": voxel_size, "b0_direction": TILTED, "noise": np.full(mask.shape, 5e-4, np.float32)}
    errors = {}
    for smallest, iterations in ((500, 75), (10**9, 150), (10**9, 300)):
        monkeypatch.setattr(coarse_start, "SMALLEST", smallest)
        options = TGVOptions(max_iterations=iterations, tolerance=1e-6)
        found = solve_tgv(data, mask, options=options, **given).chi[mask]
        errors[smallest, iterations] = np.std(found - chi[mask]) / np.std(chi[mask])
    assert errors[500, 75] < errors[10**9, 300] < errors[10**9, 150]


def test_no_start_for_thin_slabs_and_small_masks(small_problems_too):
    slab = np.zeros((60, 60, 5), bool)
    slab[5:-5, 5:-5, 1:3] = True
    assert halve(slab.astype(np.float32), slab, None, None) is None
    small = ball((12, 12, 12))
    assert halve(small.astype(np.float32), small, None, None) is None
