"""Corrections of the data: for the stencil of the wave operator, and for lost contrast."""

import numpy as np
import pytest
import scipy.ndimage

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv import TGVOptions, solve_tgv, sweep
from qsmxt_app.qsm.tgv.data_correction import DataCorrection, stencil_lack
from qsmxt_app.qsm.tgv.problem import build_problem, stencil_coefficients

OBLIQUE = np.array([0.4, -0.5, np.sqrt(1 - 0.41)], np.float32)
N = 32


def stencil_and_lack(voxel_size, limit):
    """Symbols of minus the operators, and angles, on a half spectrum of N^3."""
    c = stencil_coefficients(voxel_size, OBLIQUE)
    lack = stencil_lack(N, N, N, c, OBLIQUE, np.float32(limit))
    angles = np.meshgrid(*[2 * np.pi * np.fft.fftfreq(N)] * 2, 2 * np.pi * np.fft.rfftfreq(N), indexing="ij")
    second, first = [2 - 2 * np.cos(a) for a in angles], [np.sin(a) for a in angles]
    wave = sum(c[sweep.C_WX + a] * second[a] for a in range(3))
    for name, a, b in ((sweep.C_WXY, 0, 1), (sweep.C_WXZ, 0, 2), (sweep.C_WYZ, 1, 2)):
        wave = wave + 4 * c[name] * first[a] * first[b]
    laplacian = sum(c[sweep.C_LX + a] * second[a] for a in range(3))
    return wave, laplacian, lack, angles


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.8, 1.0, 1.6)])
def test_stencil_and_correction_make_the_dipole_kernel(voxel_size):
    """For all waves of four voxels and more, where the stencil alone is off by 0.09."""
    wave, laplacian, lack, angles = stencil_and_lack(voxel_size, 1e9)
    k = [a / h for a, h in zip(angles, voxel_size, strict=True)]
    square = sum(a**2 for a in k)
    resolved = (square > 0) & (sum(a**2 for a in angles) < (2 * np.pi / 4) ** 2)
    exact = 1 / 3 - sum(a * b for a, b in zip(k, OBLIQUE, strict=True))[resolved] ** 2 / square[resolved]
    alone = wave[resolved] / laplacian[resolved]
    corrected = (wave + lack)[resolved] / laplacian[resolved]
    assert np.abs(corrected - exact).max() < 0.002
    assert np.abs(alone - exact).max() > 0.09


def test_correction_is_limited_at_every_wave():
    wave, _, lack, _ = stencil_and_lack((1.0, 1.0, 1.0), 0.3)
    assert (np.abs(lack) <= 0.3 * np.abs(wave) + 1e-5).all()
    assert (np.abs(lack) > 0.29 * np.abs(wave)).any()


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


def test_small_nuclei_are_no_stronger_in_a_tilted_field():
    bare, bare_error = contrast_and_error(0.0003, stencil_limit=0.0)
    slope, error = contrast_and_error(0.0003)
    assert abs(slope - 1) < 0.5 * abs(bare - 1)
    assert error < bare_error


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


def test_only_equations_away_from_the_rim_are_corrected():
    problem = problem_with_noise()
    before = problem.state[sweep.LAPLACIAN].copy()
    DataCorrection(problem, 0.3).correct_stencil()
    changed = problem.rows.unflatten(problem.state[sweep.LAPLACIAN] != before)
    inside = problem.rows.unflatten(problem.flags & sweep.EQUATION != 0)
    assert np.array_equal(changed, scipy.ndimage.binary_erosion(inside))


def test_corrections_do_not_add_up_nor_undo_each_other():
    """A stencil's correction replaces the one before; what is given back stays."""
    problem = problem_with_noise()
    measured = problem.state[sweep.LAPLACIAN].copy()
    correction = DataCorrection(problem, 0.3)
    correction.correct_stencil()
    once = problem.state[sweep.LAPLACIAN].copy()
    correction.correct_stencil()
    assert np.array_equal(problem.state[sweep.LAPLACIAN], once)
    correction.return_residual(1.0)
    returned = problem.state[sweep.LAPLACIAN] - once
    assert returned.any()
    problem.state[sweep.CHI] = 0
    correction.correct_stencil()
    assert problem.state[sweep.LAPLACIAN] == pytest.approx(measured + returned, abs=1e-5)


def test_residual_comes_back_as_its_laplacian():
    """A residual field that is harmonic in the mask has none; a parabola's is constant."""
    problem = problem_with_noise()
    rows = problem.rows
    x, y, _ = np.meshgrid(*[np.arange(n) - n / 2 for n in rows.shape], indexing="ij")
    deep = scipy.ndimage.binary_erosion(rows.unflatten(problem.flags & sweep.EQUATION != 0), iterations=5)
    for image, expected in ((x**2 - y**2, 0.0), (x**2 + y**2, -2.0)):
        problem.state[sweep.PHI] = rows.flatten(image.astype(np.float32))
        before = problem.state[sweep.LAPLACIAN].copy()
        DataCorrection(problem, 0.3).return_residual(0.5)
        assert rows.unflatten(problem.state[sweep.LAPLACIAN] - before)[deep] == pytest.approx(
            expected, abs=0.05
        )
