import numpy as np
import pytest

from qsmxt_app.qsm.noise import noise_from_misfit, noise_from_texture


def test_misfit_gives_the_noise_level_though_some_voxels_fail():
    rng = np.random.default_rng(0)
    misfit = (0.3 * rng.standard_normal((100_000, 3))) ** 2
    assert noise_from_misfit(misfit.sum(1), 3) == pytest.approx(0.3, rel=0.02)
    misfit[:5000] *= 100
    assert noise_from_misfit(misfit.sum(1), 3) == pytest.approx(0.3, rel=0.06)


def test_texture_of_a_structured_image_gives_the_noise_level():
    rng = np.random.default_rng(1)
    x, y, z = np.meshgrid(*[np.arange(60)] * 3, indexing="ij")
    image = 1 + 0.3 * np.sin(x / 4) * np.cos(y / 5) + 0.2 * (z > 30) + 0.2 * (x + y > 50)
    noisy = np.abs(image + 0.02 * (rng.standard_normal(x.shape) + 1j * rng.standard_normal(x.shape)))
    assert noise_from_texture(noisy.astype(np.float32)) == pytest.approx(0.02, rel=0.05)


def test_no_voxels_is_refused():
    with pytest.raises(ValueError, match="no voxels"):
        noise_from_misfit(np.zeros(0, np.float32), 1)
    with pytest.raises(ValueError, match="2x2x2"):
        noise_from_texture(np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), bool))
