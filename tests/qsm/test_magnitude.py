import numpy as np
import pytest

from qsmxt_app.qsm.magnitude import combine_magnitude, smooth_level


def head(voxel_size, extent=200.0):
    shape = tuple(round(extent / size) for size in voxel_size)
    axes = [(np.arange(n) + 0.5) * size - extent / 2 for n, size in zip(shape, voxel_size, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return (x, y, z), (x / 70) ** 2 + (y / 85) ** 2 + (z / 65) ** 2 <= 1


def test_echoes_combine_to_the_root_of_the_sum_of_squares():
    magnitude = np.ones((3, 3, 3, 2), np.float32) * np.float32([3, 4])
    magnitude[0, 0, 0, 1] = np.nan
    combined = combine_magnitude(magnitude)
    assert combined[1, 1, 1] == 5
    assert combined[0, 0, 0] == 3
    assert combine_magnitude(magnitude[..., 0])[2, 2, 2] == 3


@pytest.mark.parametrize("voxel_size", [(2.5, 2.5, 2.5), (2.0, 2.0, 5.0)])
def test_level_follows_a_coil_profile(voxel_size):
    (x, _, _), tissue = head(voxel_size)
    profile = np.exp(-(((x - 90) / 90) ** 2))  # a surface coil at one side: 20 times between the sides
    level = smooth_level((profile * tissue).astype(np.float32), voxel_size)
    ratio = (profile / level)[tissue]
    assert np.percentile(profile[tissue], 95) / np.percentile(profile[tissue], 5) > 5
    assert np.percentile(ratio, 95) / np.percentile(ratio, 5) < 2


def test_level_does_not_depend_on_the_voxel_size():
    (x, _, _), tissue = head((2, 2, 2))
    magnitude = ((2 + x / 70) * tissue).astype(np.float32)
    fine = smooth_level(magnitude, (2, 2, 2))
    coarse = smooth_level(np.ascontiguousarray(magnitude[::2, ::2, ::2]), (4, 4, 4))
    ratio = (coarse / fine[::2, ::2, ::2])[tissue[::2, ::2, ::2]]
    assert np.percentile(np.abs(ratio - 1), 99) < 0.05


def test_noise_in_air_is_not_raised_to_tissue():
    _, tissue = head((4, 4, 4), extent=400)
    random = np.random.default_rng(2)
    noise = random.normal(0, 0.05, (2, *tissue.shape))
    magnitude = np.hypot(tissue + noise[0], noise[1]).astype(np.float32)
    relative = magnitude / smooth_level(magnitude, (4, 4, 4))
    assert relative[~tissue].mean() < 0.25  # the bound is five times the level of air
    assert np.median(relative[tissue]) == pytest.approx(1, abs=0.1)


def test_scale_does_not_matter():
    _, tissue = head((5, 5, 5))
    magnitude = tissue.astype(np.float32) + np.float32(0.01)
    np.testing.assert_allclose(
        smooth_level(magnitude * np.float32(4e6), (5, 5, 5)) / 4e6,
        smooth_level(magnitude, (5, 5, 5)),
        rtol=1e-5,
    )
