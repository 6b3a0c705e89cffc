import numpy as np
import pytest

from qsmxt_app.qsm.noise import noise_from_misfit, noise_from_ratio, noise_from_texture


def test_misfit_gives_the_noise_level_though_some_voxels_fail():
    rng = np.random.default_rng(0)
    misfit = (0.3 * rng.standard_normal((100_000, 3))) ** 2
    assert noise_from_misfit(misfit.sum(1), 3) == pytest.approx(0.3, rel=0.02)
    misfit[:5000] *= 100
    assert noise_from_misfit(misfit.sum(1), 3) == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize("echoes", [1, 2])
def test_texture_of_structured_echoes_gives_the_noise_level(echoes):
    rng = np.random.default_rng(1)
    x, y, z = np.meshgrid(*[np.arange(60)] * 3, indexing="ij")
    image = 1 + 0.3 * np.sin(x / 4) * np.cos(y / 5) + 0.2 * (z > 30) + 0.2 * (x + y > 50)
    angle = 0.3 * x + 0.002 * y**2 + np.sin(z / 5)
    signal = np.stack([image * np.exp(1j * angle * e - 0.2 * e) for e in range(1, echoes + 1)], axis=-1)
    signal += 0.02 * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    mask = (x > 3) & (y < 55)
    assert noise_from_texture(magnitude, phase, mask) == pytest.approx(0.02, rel=0.05)
    if echoes == 2:
        assert noise_from_ratio(magnitude, mask) == pytest.approx(0.02, rel=0.05)


def test_ratio_ignores_texture_that_the_echoes_share():
    rng = np.random.default_rng(2)
    image = rng.uniform(0.5, 1.5, (40, 40, 40))[..., None] * np.array([1.0, 0.8])
    noise = 0.01 * (rng.standard_normal(image.shape) + 1j * rng.standard_normal(image.shape))
    magnitude = np.abs(image + noise).astype(np.float32)
    assert noise_from_ratio(magnitude, np.ones((40, 40, 40), bool)) == pytest.approx(0.01, rel=0.05)


def test_no_voxels_is_refused():
    with pytest.raises(ValueError, match="no voxels"):
        noise_from_misfit(np.zeros(0, np.float32), 1)
    ones = np.ones((8, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="2x2x2"):
        noise_from_texture(ones, ones, np.zeros((8, 8, 8), bool))
