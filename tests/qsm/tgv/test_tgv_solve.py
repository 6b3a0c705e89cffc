"""The solver against an independent one, analytic fields, and what must not change the map."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from tgv_reference import ReferenceProblem

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv import TGVOptions, combine_echoes, solve_tgv, sweep
from qsmxt_app.qsm.tgv.iteration import balance, prepare
from qsmxt_app.qsm.tgv.problem import build_problem

PRECISE = TGVOptions(tolerance=5e-3, equation_tolerance=1e-3, max_iterations=600)
UP = (0.0, 0.0, 1.0)


def coordinates(shape, voxel_size=(1.0, 1.0, 1.0)):
    axes = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, voxel_size, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def laplacian(field, voxel_size=(1.0, 1.0, 1.0)):
    total = np.zeros(field.shape)
    for axis, h in enumerate(voxel_size):
        total += (np.roll(field, 1, axis) + np.roll(field, -1, axis) - 2.0 * field) / h**2
    return total.astype(np.float32)


def head(shape=(40, 44, 36), voxel_size=(1.0, 1.0, 1.0), b0_direction=UP, seed=5):
    """A smooth mask with blobs of chi, and its field."""
    rng = np.random.default_rng(seed)
    x, y, z = coordinates(shape)
    mask = (x / 16) ** 2 + (y / 18) ** 2 + (z / 14) ** 2 < 1
    chi = np.zeros(shape, np.float32)
    for _ in range(12):
        centre, radius = rng.uniform(-9, 9, 3), rng.uniform(1.5, 5)
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2
        chi[inside & mask] += np.float32(rng.uniform(-0.05, 0.15))
    chi = scipy.ndimage.gaussian_filter(chi, 0.6)
    return chi, mask, forward_field(chi, voxel_size=voxel_size, b0_direction=b0_direction)


def difference(a, b, mask):
    """Root mean square difference over the standard deviation of b, both demeaned."""
    a, b = a[mask] - a[mask].mean(), b[mask] - b[mask].mean()
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(
    ("b0_direction", "slack"), [(UP, ()), ((0.4, -0.2, 0.9), ()), ((0.4, -0.2, 0.9), (0.03,))]
)
def test_optimum_is_that_of_an_independent_solver(b0_direction, slack):
    """Same objective and map as plain iterations on sparse matrices in double precision."""
    rng = np.random.default_rng(0)
    shape, voxel_size = (9, 8, 10), (1.0, 0.9, 1.3)
    x, y, z = coordinates(shape)
    mask = (x**2 + y**2 + z**2 < 8) & ~((np.abs(x) < 1) & (y > 1) & (z > 1))
    data = rng.standard_normal(shape).astype(np.float32)
    weight = rng.uniform(0.05, 2, shape).astype(np.float32)
    alpha, geometry = (0.005, 0.005), {"voxel_size": voxel_size, "b0_direction": b0_direction}
    problem = build_problem(data, mask, weight, slack=slack, **geometry)
    c, length = problem.coefficients, problem.length
    reference = ReferenceProblem(
        data, mask, weight, alpha=alpha, rim_alpha=0.5, slack=[s * length**2 for s in slack], **geometry
    )
    best = reference.solve(5000)
    c[sweep.C_ALPHA_1], c[sweep.C_ALPHA_0] = alpha[0] / length, alpha[1] / length**2
    c[sweep.C_RIM], c[sweep.C_RELAX] = 0.5, 1.9
    iteration = prepare(problem, threads=1)
    balance(iteration, 1.0)
    iteration.run(10000)
    volume = [problem.rows.to_volume(problem.rows.unflatten(s)) for s in problem.state]
    domain = tuple(reference.voxels.T - 2)
    chi, phi = volume[sweep.CHI][domain], volume[sweep.PHI][domain]
    w = np.concatenate([volume[sweep.WX + a][domain] for a in np.argsort(problem.rows.axes)]) / length
    assert reference.violation(chi, phi) < 1e-4
    assert reference.objective(chi, phi, w) == pytest.approx(reference.objective(*best), rel=1e-3)
    ours, theirs = reference.without_affine(chi), reference.without_affine(best[0])
    assert np.linalg.norm(ours - theirs) < 2e-2 * np.linalg.norm(theirs)
    if slack:
        assert (
            0.05 < np.mean(np.abs(reference.residual(best[0], best[1]))[reference.cap < np.inf] > 1e-6) < 0.95
        )


def test_sphere():
    """The mean of a sphere's chi, from its analytic field averaged over voxels."""
    n, fine, radius, chi = 44, 4, 8.0, 0.2
    x, y, z = coordinates([fine * n] * 3) / fine
    r = np.sqrt(x**2 + y**2 + z**2)
    outside = chi / 3 * (radius / np.maximum(r, radius)) ** 3 * (3 * (z / np.maximum(r, 1e-9)) ** 2 - 1)
    field = np.where(r > radius, outside, 0.0).reshape(n, fine, n, fine, n, fine).mean(axis=(1, 3, 5))
    r = np.sqrt(np.sum(coordinates([n] * 3) ** 2, axis=0))
    mask = r < 19
    weak = TGVOptions(alpha=(1.5e-4, 1e-4))  # strong ones lower the contrast
    result = solve_tgv(laplacian(field), mask, voxel_size=(1, 1, 1), b0_direction=UP, options=weak)
    inside, around = result.chi[r < radius - 1.5].mean(), result.chi[(r > radius + 1.5) & (r < 16)].mean()
    assert inside - around == pytest.approx(chi, rel=0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_rotated_field_equals_permuted_volume(axis):
    """B0 along another axis is the same problem with the axes swapped, to the solver's own precision."""
    _, mask, field = head()
    voxel_size = (1.0, 1.1, 1.2)
    swap = [0, 1, 2]
    swap[axis], swap[2] = 2, axis
    upright = solve_tgv(laplacian(field), mask, voxel_size=voxel_size, b0_direction=UP, options=PRECISE)
    b0_direction = np.eye(3)[axis]
    turned = solve_tgv(
        np.ascontiguousarray(laplacian(field).transpose(swap)),
        mask.transpose(swap),
        voxel_size=[voxel_size[a] for a in swap],
        b0_direction=b0_direction,
        options=PRECISE,
    )
    assert difference(turned.chi.transpose(swap), upright.chi, mask) < 1e-5


def test_tilted_field():
    """A head in a tilted field is recovered as well as in an upright one."""
    tilted = (0.4, 0.3, 0.866)
    errors = []
    for b0_direction in (UP, tilted):
        chi, mask, field = head(b0_direction=b0_direction)
        result = solve_tgv(laplacian(field), mask, voxel_size=(1, 1, 1), b0_direction=b0_direction)
        errors.append(difference(result.chi, chi, mask))
    assert errors[0] < 0.45
    assert errors[1] < 1.2 * errors[0]


def test_unit_of_field_and_echo_time_cancel():
    """Phase of another field strength and echo time with the same ppm gives the same map."""
    _, mask, field = head()
    maps = []
    for field_strength, echo_time in ((3.0, 0.020), (7.0, 0.006)):
        phase = (2 * np.pi * 42.577478518 * field_strength * echo_time * field).astype(np.float32)
        combined = combine_echoes(
            np.ones_like(phase),
            phase,
            [echo_time],
            field_strength=field_strength,
            voxel_size=(1, 1, 1),
            mask=mask,
        )
        maps.append(solve_tgv(combined.laplacian, mask, voxel_size=(1, 1, 1), b0_direction=UP).chi)
    assert difference(maps[1], maps[0], mask) < 1e-2


def test_harmonic_background_changes_nothing():
    _, mask, field = head()
    x, y, z = coordinates(mask.shape)
    background = 0.05 * x - 0.02 * z + 0.002 * (x**2 - y**2) + 0.001 * x * z
    plain, with_background = (
        solve_tgv(laplacian(f), mask, voxel_size=(1, 1, 1), b0_direction=UP, options=PRECISE).chi
        for f in (field, field + background)
    )
    assert difference(with_background, plain, mask) < 2e-3


def test_same_bytes_for_any_number_of_threads():
    _, mask, field = head()
    noise = np.random.default_rng(2).uniform(0.5, 2, mask.shape).astype(np.float32)
    tilted = (0.2, 0.1, 0.97)
    states = []
    for threads in (1, 1, 2, 5):
        problem = build_problem(laplacian(field), mask, noise, voxel_size=(1, 1, 1.5), b0_direction=tilted)
        problem.coefficients[sweep.C_ALPHA_1 : sweep.C_RELAX + 1] = (1e-4, 3e-5, 0.1, 1.9)
        iteration = prepare(problem, threads=threads)
        assert len(iteration.seams) == threads + 1
        balance(iteration, 0.05)
        iteration.run(30)
        states.append(problem.state.tobytes())
    assert all(state == states[0] for state in states)


def test_noisy_voxel_is_distrusted():
    """One voxel of nonsense: a huge noise there keeps it from the map, uniform weights do not."""
    _, mask, field = head()
    corrupted = field.copy()
    corrupted[20, 22, 18] += 2.0
    noise = np.full(mask.shape, 7e-4, np.float32)
    options = {"voxel_size": (1, 1, 1), "b0_direction": UP, "options": PRECISE}
    clean = solve_tgv(laplacian(field), mask, noise=noise, **options).chi
    uniform = solve_tgv(laplacian(corrupted), mask, noise=noise, **options).chi
    noise[20, 22, 18] = 2.0
    weighted = solve_tgv(laplacian(corrupted), mask, noise=noise, **options).chi
    assert difference(weighted, clean, mask) < 0.1
    assert difference(uniform, clean, mask) > 5 * difference(weighted, clean, mask)


def test_mask_at_the_edge_of_the_volume():
    _, mask, field = head()
    sides = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask))
    options = {"voxel_size": (1, 1, 1), "b0_direction": UP, "noise": np.ones(mask.shape, np.float32)}
    whole = solve_tgv(laplacian(field), mask, **options).chi
    options["noise"] = options["noise"][sides]
    tight = solve_tgv(laplacian(field)[sides], mask[sides], **options).chi
    assert difference(tight, whole[sides], mask[sides]) < 0.2


def test_history_and_cap():
    _, mask, field = head()
    result = solve_tgv(
        laplacian(field), mask, voxel_size=(1, 1, 1), b0_direction=UP, options=TGVOptions(max_iterations=60)
    )
    assert not result.converged
    assert result.iterations == 60
    assert result.history.iteration == (25, 50, 60)
    assert len(result.history.chi_change) == len(result.history.equation_residual) == 3


def test_nothing_measured_is_nothing_found():
    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, 3:9] = True
    result = solve_tgv(np.zeros(mask.shape, np.float32), mask, voxel_size=(1, 1, 1), b0_direction=UP)
    assert result.converged
    assert not result.chi.any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 20, 20), (20, 1, 1), (2, 3, 40)])
def test_thin_masks(shape):
    rng = np.random.default_rng(0)
    data = rng.standard_normal(shape).astype(np.float32)
    result = solve_tgv(data, np.ones(shape, bool), voxel_size=(1, 1, 1), b0_direction=UP, threads=2)
    assert np.isfinite(result.chi).all()


def test_bad_input_is_named():
    data, mask = np.zeros((6, 6, 6), np.float32), np.ones((6, 6, 6), bool)
    good = {"voxel_size": (1, 1, 1), "b0_direction": UP}
    with pytest.raises(ValueError, match="mask is empty"):
        solve_tgv(data, ~mask, **good)
    broken = data.copy()
    broken[2, 2, 2] = np.nan
    with pytest.raises(ValueError, match="not finite at 1 voxel"):
        solve_tgv(broken, mask, **good)
    with pytest.raises(ValueError, match="differ in shape"):
        solve_tgv(data[1:], mask, **good)
    with pytest.raises(ValueError, match="voxel_size"):
        solve_tgv(data, mask, voxel_size=(1, 0, 1), b0_direction=UP)
    with pytest.raises(ValueError, match="b0_direction"):
        solve_tgv(data, mask, voxel_size=(1, 1, 1), b0_direction=(0, 0, 0))
    with pytest.raises(ValueError, match="noise is not a positive"):
        solve_tgv(data, mask, noise=np.zeros_like(data), **good)
    with pytest.raises(ValueError, match="alpha"):
        TGVOptions(alpha=(0.0, 1.0))
