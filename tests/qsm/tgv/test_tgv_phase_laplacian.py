"""Laplacians of wrapped phase with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.tgv import combine_echoes, laplacian_of_phase

VOXEL_SIZE = (0.8, 1.0, 1.7)
ECHO_TIMES = np.array([0.004, 0.009, 0.014, 0.019])


def grid(shape=(24, 22, 18)):
    axes = [(np.arange(n) - n / 2) * h for n, h in zip(shape, VOXEL_SIZE, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def wrap(phase):
    return np.angle(np.exp(1j * phase)).astype(np.float32)


def interior(shape):
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return mask


def test_quadratic_phase_in_spite_of_wraps():
    """The second difference of a quadratic is exact: 2 a + 2 b + 2 c everywhere, over dozens of turns."""
    x, y, z = grid()
    phase = 0.15 * x**2 - 0.05 * y**2 + 0.03 * z**2 + 0.8 * x
    assert np.ptp(phase) > 4 * np.pi
    result = laplacian_of_phase(wrap(phase), voxel_size=VOXEL_SIZE, mask=interior(x.shape))
    inside = result[interior(x.shape)]
    np.testing.assert_allclose(inside, 2 * (0.15 - 0.05 + 0.03), atol=2e-5)
    assert not result[~interior(x.shape)].any()


def test_trigonometric_form_is_that_of_the_formula():
    """cos(phi) Lap(sin phi) - sin(phi) Lap(cos phi), with central differences."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(-3, 3, (12, 13, 14)).astype(np.float32)
    total = np.zeros(phase.shape)
    for axis, h in enumerate(VOXEL_SIZE):
        for part, sign, other in ((np.sin, 1, np.cos), (np.cos, -1, np.sin)):
            f = part(phase)
            total += sign * other(phase) * (np.roll(f, 1, axis) + np.roll(f, -1, axis) - 2 * f) / h**2
    mask = interior(phase.shape)
    result = laplacian_of_phase(phase, voxel_size=VOXEL_SIZE, mask=mask, method="trigonometric")
    np.testing.assert_allclose(result[mask], total[mask], atol=2e-4)


def test_late_echoes_are_unwrapped_in_time():
    """A field whose late echoes turn more than half between neighbours, on a coil phase that is harmonic."""
    x, y, z = grid()
    field = 0.02 * x**2 + 0.01 * y * z + 0.2 * x  # ppm; 0.6 rad a voxel at the first echo, 3.5 at the last
    offset = 0.05 * y + 0.004 * (x**2 - z**2)
    per_ppm = 2 * np.pi * hz_per_ppm(3.0) * ECHO_TIMES
    phase = wrap(field[..., None] * per_ppm + offset[..., None])
    assert np.abs(np.diff(field, axis=0)).max() * per_ppm[-1] > np.pi
    mask = interior(x.shape)
    result = combine_echoes(
        np.ones_like(phase), phase, ECHO_TIMES, field_strength=3.0, voxel_size=VOXEL_SIZE, mask=mask
    )
    np.testing.assert_allclose(result.laplacian[mask], 0.04, atol=1e-4)


@pytest.mark.parametrize("echoes", [1, 4])
def test_noise_is_that_of_the_field(echoes):
    """The echoes' own noise gives sigma over the root of sum (magnitude TE)^2."""
    rng = np.random.default_rng(1)
    shape, sigma, times = (32, 32, 32), 0.02, ECHO_TIMES[-echoes:]
    noise = rng.standard_normal((*shape, echoes)) + 1j * rng.standard_normal((*shape, echoes))
    signal = 1 + sigma * noise
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    mask = interior(shape)
    result = combine_echoes(magnitude, phase, times, field_strength=3.0, voxel_size=VOXEL_SIZE, mask=mask)
    expected = sigma / (2 * np.pi * hz_per_ppm(3.0) * np.sqrt(np.sum(times**2)))
    assert np.median(result.noise[mask]) == pytest.approx(expected, rel=0.05)


def test_a_dead_echo_counts_nothing():
    rng = np.random.default_rng(2)
    x, _, _ = grid()
    per_ppm = 2 * np.pi * hz_per_ppm(3.0) * ECHO_TIMES
    phase = wrap((0.02 * x**2)[..., None] * per_ppm)
    magnitude = np.ones_like(phase)
    phase[..., 3], magnitude[..., 3] = rng.uniform(-np.pi, np.pi, x.shape), 0
    mask = interior(x.shape)
    result = combine_echoes(
        magnitude, phase, ECHO_TIMES, field_strength=3.0, voxel_size=VOXEL_SIZE, mask=mask
    )
    np.testing.assert_allclose(result.laplacian[mask], 0.04, atol=1e-4)


def test_echoes_apart_have_their_own_laplacian_and_noise():
    """Averaged by their noise they give what the combination gives."""
    rng = np.random.default_rng(3)
    x, y, z = grid()
    per_ppm = 2 * np.pi * hz_per_ppm(3.0) * ECHO_TIMES
    field = 0.02 * x**2 + 0.01 * y * z + 0.2 * x  # late echoes turn more than half between neighbours
    mask = interior(x.shape)
    sizes = np.exp(-40 * ECHO_TIMES)
    noise = rng.standard_normal((*x.shape, 4)) + 1j * rng.standard_normal((*x.shape, 4))
    signal = sizes * np.exp(1j * field[..., None] * per_ppm) + 0.005 * noise
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    given = {"field_strength": 3.0, "voxel_size": VOXEL_SIZE, "mask": mask}
    apart = combine_echoes(magnitude, phase, ECHO_TIMES, separate=True, **given)
    together = combine_echoes(magnitude, phase, ECHO_TIMES, **given)
    assert apart.laplacian.shape == apart.noise.shape == phase.shape
    np.testing.assert_allclose(np.median(apart.laplacian[mask], axis=0), 0.04, atol=0.003)
    expected = 0.005 / (sizes * per_ppm)
    np.testing.assert_allclose(np.median(apart.noise[mask], axis=0), expected, rtol=0.1)
    weights = apart.noise[mask] ** -2.0
    mean = (weights * apart.laplacian[mask]).sum(axis=-1) / weights.sum(axis=-1)
    np.testing.assert_allclose(mean, together.laplacian[mask], atol=1e-4)


def test_bad_input_is_named():
    ones = np.ones((6, 6, 6, 2), np.float32)
    mask = np.ones((6, 6, 6), bool)
    good = {"field_strength": 3.0, "voxel_size": (1, 1, 1), "mask": mask}
    with pytest.raises(ValueError, match="2 echoes but 3 echo times"):
        combine_echoes(ones, ones, [0.01, 0.02, 0.03], **good)
    with pytest.raises(ValueError, match="ascending"):
        combine_echoes(ones, ones, [0.02, 0.01], **good)
    with pytest.raises(ValueError, match="differ in shape"):
        combine_echoes(ones[1:], ones, [0.01, 0.02], **good)
    broken = ones.copy()
    broken[3, 3, 3, 1] = np.nan
    with pytest.raises(ValueError, match="phase is not finite"):
        combine_echoes(ones, broken, [0.01, 0.02], **good)
    with pytest.raises(ValueError, match="method must be one of"):
        laplacian_of_phase(ones[..., 0], voxel_size=(1, 1, 1), method="magic")
