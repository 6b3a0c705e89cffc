import numpy as np
from echo_phantom import wrapped
from scipy.ndimage import binary_erosion

from qsmxt_app.qsm.smooth_phase import smooth_phase

VOXEL = (1.5, 2.0, 2.5)


def coordinates(shape):
    return np.meshgrid(
        *[(np.arange(n) - n / 2) * v for n, v in zip(shape, VOXEL, strict=True)], indexing="ij"
    )


def test_linear_phase_of_many_turns_is_reproduced_up_to_the_rim():
    x, y, z = coordinates((60, 50, 40))
    mask = (x / 40) ** 2 + (y / 44) ** 2 + (z / 42) ** 2 < 1
    true = 0.4 + 0.12 * x - 0.07 * y + 0.05 * z
    smooth = smooth_phase(wrapped(true).astype(np.float32), mask.astype(np.float32), voxel_size=VOXEL)
    # a Gaussian mean over one side of a plane is off by 0.8 sigma times the slope
    one_sided = np.sqrt(2 / np.pi) * 6.0 * np.linalg.norm([0.12, 0.07, 0.05])
    assert np.abs(wrapped(smooth - true)[mask]).max() < 0.1 * one_sided


def test_noise_falls_and_the_rim_has_no_bias():
    x, y, z = coordinates((60, 50, 40))
    mask = (x / 40) ** 2 + (y / 44) ** 2 + (z / 42) ** 2 < 1
    true = 1.5 + 1.2 * np.sin(x / 35 + y / 45) + 5e-4 * (x**2 - z**2)
    rng = np.random.default_rng(3)
    noisy = wrapped(true + 0.1 * rng.standard_normal(true.shape)).astype(np.float32)
    error = wrapped(smooth_phase(noisy, mask.astype(np.float32), voxel_size=VOXEL) - true)
    rim = mask & ~binary_erosion(mask)
    radial = x / 40 + y / 44 + z / 42
    assert error[mask].std() < 0.012
    assert error[rim].std() < 0.025
    assert abs(np.polyfit(radial[rim], error[rim], 1)[0]) < 0.01


def test_phase_goes_on_outside_the_mask():
    x, y, z = coordinates((60, 50, 40))
    mask = x**2 + y**2 + z**2 < 25**2
    true = 0.05 * x
    smooth = smooth_phase(true.astype(np.float32), mask.astype(np.float32), voxel_size=VOXEL)
    shell = (x**2 + y**2 + z**2 < 30**2) & ~mask
    assert np.abs(wrapped(smooth - true)[shell]).max() < 0.1


def test_outliers_are_left_out():
    x, y, z = coordinates((60, 50, 40))
    true = 0.02 * x + 0.01 * y
    lesion = (x**2 + y**2 + z**2) < 6**2
    spoilt = np.where(lesion, true + 2.0, true).astype(np.float32)
    weights = np.ones(true.shape, np.float32)
    plain = wrapped(smooth_phase(spoilt, weights, voxel_size=VOXEL) - true)
    robust = wrapped(smooth_phase(spoilt, weights, voxel_size=VOXEL, outlier=0.3) - true)
    assert np.abs(robust).max() < 0.5 * np.abs(plain).max()
