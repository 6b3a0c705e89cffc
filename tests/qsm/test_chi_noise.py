from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from qsmxt_app.qsm.background.lbv import lbv
from qsmxt_app.qsm.chi_noise import chi_noise
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.dipole import dipole_kernel, forward_field
from qsmxt_app.qsm.expected_error import expected_error
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.inversion.rts import rts
from qsmxt_app.qsm.inversion.tv import tv
from qsmxt_app.qsm.noise_response import tgv_noise
from qsmxt_app.qsm.padded_grid import field_weights
from qsmxt_app.qsm.tgv import laplacian_of_field, solve_tgv

OBLIQUE = (0.0, 0.6, 0.8)
VOXEL_SIZE = (1.0, 1.5, 2.0)


def ball(shape, radius):
    grid = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return (grid**2).sum(axis=0) < radius**2


def test_constant_noise_is_amplified_as_tikhonov_does(rng):
    """Monte Carlo with the filter itself, everywhere in a periodic box."""
    shape, regularisation = (48, 40, 44), 0.05
    kernel = dipole_kernel(shape, VOXEL_SIZE, OBLIQUE)
    inverse = kernel / (kernel**2 + regularisation)
    fields = 0.002 * rng.standard_normal((6, *shape))
    chi = np.fft.irfftn(inverse * np.fft.rfftn(fields, axes=(1, 2, 3)), s=shape, axes=(1, 2, 3))
    mask = ball(shape, 17)
    found = chi_noise(
        np.full(shape, 0.002, np.float32),
        mask,
        voxel_size=VOXEL_SIZE,
        b0_direction=OBLIQUE,
        regularisation=regularisation,
    )
    np.testing.assert_allclose(found[mask], chi.std(), rtol=0.02)
    assert np.all(found[~mask] == 0)


def test_noise_that_varies_slowly_is_followed():
    shape = (60, 60, 60)
    mask = ball(shape, 28)
    noise = np.exp(np.indices(shape)[1] / 25).astype(np.float32) * 1e-3
    options = {"voxel_size": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0)}
    one = chi_noise(np.ones(shape, np.float32), mask, **options)
    found = chi_noise(noise, mask, **options)
    inner = ball(shape, 22)
    np.testing.assert_allclose(found[inner], (noise * one)[inner], rtol=0.12)


def test_one_voxel_of_noise_hardly_matters_but_one_of_many_does():
    shape = (40, 40, 40)
    mask, noise = ball(shape, 18), np.full(shape, 1e-3, np.float32)
    options = {"voxel_size": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0)}
    before = chi_noise(noise, mask, **options)
    noise[20, 20, 20] = 10
    after = chi_noise(noise, mask, **options)
    assert 1.0 < np.max(after[mask] / before[mask]) < 1.3
    noise[14:27, 14:27, 14:27] = 10
    assert chi_noise(noise, mask, **options)[20, 20, 20] > 10 * before[20, 20, 20]


def test_it_is_the_spread_of_repeated_scans():
    """From noisy signals to chi, five scans of one object."""
    shape, times = (48, 52, 46), (0.005, 0.012, 0.019)
    options = {"voxel_size": (2.0, 2.0, 2.0), "b0_direction": (0.0, 0.0, 1.0)}
    rng, mask, per_ppm = np.random.default_rng(1), ball(shape, 21), hz_per_ppm(3.0)
    chi = gaussian_filter(rng.standard_normal(shape), 2)
    chi *= 0.02 / chi.std() * mask
    chi[ball(shape, 5)] += 0.1
    field = per_ppm * forward_field(chi, **options)
    clean = np.exp(2j * np.pi * field[..., None] * np.array(times)) * mask[..., None]
    maps = {"tgv": [], "tv": [], "rts": []}
    for _ in range(5):
        signal = clean + 1 / 60 * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape))
        fit = fit_total_field(
            np.abs(signal).astype(np.float32),
            np.angle(signal).astype(np.float32),
            times,
            mask=mask,
            voxel_size=options["voxel_size"],
        )
        noise = fit.field_noise / np.float32(per_ppm)
        laplacian = laplacian_of_field(
            fit, field_strength=3.0, voxel_size=options["voxel_size"], mask=mask
        ).laplacian
        maps["tgv"].append(solve_tgv(laplacian, mask, noise=noise, tissue=mask, **options).chi)
        weights = field_weights(noise)
        local = lbv(
            fit.total_field / np.float32(per_ppm), mask, weights=weights, voxel_size=options["voxel_size"]
        )
        for name, invert in (("tv", tv), ("rts", rts)):
            result = invert(local.local_field, mask, weights=weights * local.measured, **options)
            maps[name].append(result.chi)
    told = chi_noise(noise, mask, **options)
    inner = binary_erosion(mask, iterations=2)
    for name, repeated in maps.items():
        spread = np.sqrt(np.var(repeated, axis=0, ddof=1)[inner].mean())
        assert 0.5 < np.median(told[inner]) / spread < 2, name
    response = tgv_noise(
        laplacian,
        mask,
        noise=noise,
        random_noise=fit.random_noise / np.float32(per_ppm),
        tissue=mask,
        **options,
    )
    for part in (ball(shape, 5), inner & ~ball(shape, 8), mask & ~inner):
        spread = np.var(maps["tgv"], axis=0, ddof=1)[part].mean()
        assert np.sqrt(np.mean(response[part] ** 2) / spread) == pytest.approx(1, abs=0.25)


def test_white_noise_through_a_linear_inversion(monkeypatch):
    """The Laplacian of white noise is sqrt(6^2 + 6) times as large, and chi follows the inversion."""
    gain, sigma, mask = np.float32(0.25), np.float32(0.003), ball((40, 40, 40), 16)
    monkeypatch.setattr(
        "qsmxt_app.qsm.noise_response.solve_tgv",
        lambda data, mask, **_: SimpleNamespace(chi=gain * data * mask),
    )
    even = np.full(mask.shape, sigma)
    options = {"voxel_size": (1.0, 1.0, 1.0), "b0_direction": (0.0, 0.0, 1.0), "tissue": mask, "noise": even}
    data = np.random.default_rng(3).standard_normal(mask.shape).astype(np.float32)
    noise = tgv_noise(data, mask, random_noise=even, **options)
    assert not noise[~mask].any()
    expected = gain * sigma * np.sqrt(42)
    for part in (ball(mask.shape, 12), mask & ~ball(mask.shape, 15)):
        assert np.sqrt(np.mean(noise[part] ** 2)) == pytest.approx(expected, rel=0.05)
    np.testing.assert_allclose(tgv_noise(data, mask, random_noise=3 * even, **options), 3 * noise, rtol=1e-3)


def test_the_field_varies_between_scans_by_thermal_noise_where_it_is_smooth():
    times, sigma = np.array((0.005, 0.012, 0.019)), 0.02
    rng, mask = np.random.default_rng(5), ball((32, 32, 32), 13)
    fields = []
    for _ in range(6):
        signal = np.exp(2j * np.pi * 20 * times) * mask[..., None] + sigma * (
            rng.standard_normal((*mask.shape, 3)) + 1j * rng.standard_normal((*mask.shape, 3))
        )
        fit = fit_total_field(
            np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32), times, mask=mask,
            voxel_size=(1.0, 1.0, 1.0),
        )  # fmt: skip
        fields.append(fit.total_field)
    inner = ball(mask.shape, 10)
    spread = np.sqrt(np.var(fields, axis=0, ddof=1)[inner].mean())
    assert np.sqrt(np.mean(fit.random_noise[inner] ** 2)) == pytest.approx(spread, rel=0.15)
    assert (fit.random_noise <= fit.field_noise).all()


def test_the_expected_error_is_noise_and_lost_detail():
    mask = ball((20, 20, 20), 9)
    noise = np.where(mask, np.float32(0.02), np.float32(0))
    quiet, noisy = expected_error(0 * noise, mask), expected_error(noise, mask)
    assert not quiet[~mask].any()
    assert quiet[10, 10, 10] == np.float32(0.008)
    assert quiet[10, 10, 2] == np.float32(0.018)
    np.testing.assert_allclose(noisy[mask] ** 2 - quiet[mask] ** 2, 1.49 * noise[mask] ** 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("noise", "options", "message"),
    [
        (np.zeros((8, 8, 8), np.float32), {}, "positive"),
        (np.ones((8, 8, 7), np.float32), {}, "shape"),
        (np.ones((8, 8, 8), np.float32), {"regularisation": 0}, "regularisation"),
        (np.full((8, 8, 8), np.inf, np.float32), {}, "finite"),
    ],
)
def test_bad_input_is_refused(noise, options, message):
    with pytest.raises(ValueError, match=message):
        chi_noise(noise, np.ones((8, 8, 8), bool), voxel_size=(1, 1, 1), b0_direction=(0, 0, 1), **options)
