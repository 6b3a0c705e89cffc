import numpy as np
import pytest
import scipy.fft

from qsmxt_app.qsm.dipole import dipole_kernel
from qsmxt_app.qsm.map_quality import homogeneous_tissue, local_noise, streaking

SHAPE, VOXEL = (48, 44, 40), (1.0, 1.2, 1.5)
B0 = (0.0, 0.3, np.sqrt(0.91))
RNG = np.random.default_rng(0)


def test_local_noise_is_the_standard_deviation_whatever_varies_slowly():
    tissue = np.zeros(SHAPE, bool)
    tissue[5:-5, 5:-5, 5:-5] = True
    noise = RNG.normal(0, 0.02, SHAPE).astype(np.float32)
    slow = np.linspace(0, 0.2, SHAPE[0], dtype=np.float32)[:, None, None]
    other = np.where(tissue, 0, np.float32(5.0))
    assert local_noise(noise + slow + other + 3, tissue) == pytest.approx(0.02, rel=0.03)
    assert local_noise(slow + other, tissue) < 0.004
    # whether a voxel has all its neighbours or half of them does not change what is found
    plane = np.zeros(SHAPE, bool)
    plane[10:12] = True
    assert local_noise(noise, plane) == pytest.approx(0.02, rel=0.06)


def test_local_noise_needs_neighbours():
    assert local_noise(np.zeros(SHAPE), np.zeros(SHAPE, bool)) is None
    speck = np.zeros(SHAPE, bool)
    speck[3, 3, 3] = True
    assert local_noise(np.zeros(SHAPE), speck) is None
    with pytest.raises(ValueError, match="one shape"):
        local_noise(np.zeros(SHAPE), np.zeros((3, 3, 3), bool))


def test_the_tissue_with_the_least_texture_is_chosen():
    mask = np.ones(SHAPE, bool)
    magnitude = 100 + RNG.normal(0, 10, SHAPE)
    magnitude[20:34, 12:32, 12:30] = 60 + RNG.normal(0, 1, (14, 20, 18))
    chosen = homogeneous_tissue(magnitude, mask, voxel_size=(2.0, 2.0, 2.0))
    calm = np.zeros(SHAPE, bool)
    calm[20:34, 12:32, 12:30] = True
    assert chosen.sum() == pytest.approx(0.2 * mask.size, rel=0.01)
    # all of it but for the outermost layer, whose neighbours are other tissue
    assert (chosen & calm).sum() >= 12 * 18 * 16


def shaped(gain):
    """Noise in a ball, with its power near the cone multiplied by `gain`."""
    spectrum = scipy.fft.rfftn(RNG.normal(0, 1, SHAPE))
    cone = np.abs(dipole_kernel(SHAPE, VOXEL, B0)) < 0.08
    chi = scipy.fft.irfftn(spectrum * np.where(cone, np.sqrt(gain), 1), s=SHAPE).astype(np.float32)
    grid = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    return chi, (grid**2).sum(axis=0) < 19**2


@pytest.mark.parametrize(("gain", "slack"), [(0.2, 0.2), (1.0, 0.1), (5.0, 1.5)])
def test_streaking_is_the_excess_of_power_near_the_cone(gain, slack):
    chi, mask = shaped(gain)
    found = streaking(chi, mask, voxel_size=VOXEL, b0_direction=B0)
    # the ball's own transform mixes the cone with its surroundings
    assert found == pytest.approx(gain, abs=slack)
    assert streaking(7 * chi + 3, mask, voxel_size=VOXEL, b0_direction=B0) == pytest.approx(found, rel=0.02)


def test_streaks_are_looked_for_along_b0():
    chi, mask = shaped(5.0)
    turned = streaking(chi, mask, voxel_size=VOXEL, b0_direction=(1.0, 0.0, 0.0))
    assert turned < 0.6 * streaking(chi, mask, voxel_size=VOXEL, b0_direction=B0)


def test_streaking_of_nothing_is_not_known():
    assert (
        streaking(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool), voxel_size=VOXEL, b0_direction=B0)
        is None
    )
    assert (
        streaking(np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool), voxel_size=VOXEL, b0_direction=B0)
        is None
    )
    with pytest.raises(ValueError, match="one shape"):
        streaking(np.zeros((3, 3)), np.ones((3, 3), bool), voxel_size=VOXEL, b0_direction=B0)
