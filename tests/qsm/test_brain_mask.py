import numpy as np
import pytest

from qsmxt_app.qsm.brain_mask import find_brain

SIZE = (3.0, 3.0, 2.5)
SHAPE = (64, 72, 76)


def distances():
    """Distance in mm from the middle of a brain, and the axes of the image in mm."""
    axes = [(np.arange(n) - n / 2) * h for n, h in zip(SHAPE, SIZE, strict=True)]
    axes[2] -= 20  # the neck leaves the image below
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2), x, y, z


def head():
    """A brain of 58 mm, 6 mm of skull with bridges, 8 mm of scalp, and a neck that goes into the brain."""
    radius, x, y, z = distances()
    brain = radius < 58
    scalp = (radius > 64) & (radius < 72)
    neck = (np.hypot(x, y) < 40) & (z < -64)
    bridges = (radius < 72) & ((np.hypot(x - 20, y) < 6) | (np.hypot(x, z - 10) < 5))
    cord = (np.hypot(x, y) < 9) & (z < 0)
    vein = (np.hypot(x, z - 30) < 2.5) & brain  # dark, from surface to surface
    signal = (brain | scalp | neck | bridges | cord) & ~vein
    coil = np.exp(-(((x - 60) / 150) ** 2) - ((z / 120) ** 2))
    noise = np.random.default_rng(1).rayleigh(0.02, SHAPE)
    return np.where(signal, coil, 0).astype(np.float32) + noise.astype(np.float32), brain, signal


def test_skull_scalp_and_neck_are_cut_and_no_brain():
    magnitude, brain, signal = head()
    found = find_brain(magnitude, signal | brain, SIZE)
    assert (found & brain).sum() > 0.995 * brain.sum()
    assert (found & ~brain).sum() < 0.1 * brain.sum()  # bridges and cord, where they meet the brain
    assert (signal & ~brain).sum() > 0.8 * brain.sum()  # what there is to cut


@pytest.mark.parametrize("region", ["slab", "stripped", "crop"])
def test_a_part_of_a_head_keeps_its_brain(region):
    magnitude, brain, signal = head()
    if region == "stripped":
        magnitude, inside = magnitude * brain, brain
    else:
        inside = signal | brain
        box = np.s_[:, :, 40:50] if region == "slab" else np.s_[24:40, 28:44, 40:56]
        magnitude, inside, brain = magnitude[box], inside[box], brain[box]
    found = find_brain(magnitude, inside, SIZE)
    assert (found & brain).sum() > 0.995 * brain.sum()
    assert not (found & ~inside).any()


def test_no_signal_is_no_brain():
    nothing = np.zeros((8, 8, 8), np.float32)
    assert not find_brain(nothing + 1, nothing > 0, SIZE).any()
