import numpy as np
import pytest
from scipy import ndimage

from qsmxt_app.qsm.stripped_magnitude import stripped_brain

SIZE = (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def head():
    """Magnitude of a made-up head, and its brain: a shell of bone around it, then scalp, then air."""
    grid = np.indices((48, 56, 44)) - np.array([24, 28, 22])[:, None, None, None]
    radius = np.sqrt(((grid / np.array([19, 23, 18])[:, None, None, None]) ** 2).sum(axis=0))
    brain, bone, scalp = radius < 0.8, (radius >= 0.8) & (radius < 0.9), (radius >= 0.9) & (radius < 1)
    tissue = 1 + 0.3 * np.sin(grid[0] / 3) * np.cos(grid[1] / 4)
    signal = tissue * (brain + 0.1 * bone + 0.8 * scalp) * (1.4 - 0.02 * grid[1])  # a coil at the back
    noise = np.abs(np.random.default_rng(0).normal(0, 0.02, radius.shape))
    return (signal + noise).astype(np.float32), brain


def test_a_brain_that_was_cut_out_is_found_to_its_rim(head):
    magnitude, brain = head
    assert np.array_equal(stripped_brain(magnitude * brain, SIZE), brain)
    apart = brain.copy()
    apart[:, 36] = False
    apart[0, 0, 0] = True
    found = stripped_brain(magnitude * apart, SIZE)
    assert found is not None
    assert np.array_equal(np.argwhere(found != apart), [[0, 0, 0]])
    # in any unit, and with a ventricle that was cut out of it as well
    hole = ndimage.binary_erosion(brain, iterations=11)
    assert hole.any()
    assert np.array_equal(stripped_brain(1e5 * magnitude * (brain & ~hole), SIZE), brain)


def test_a_head_is_not_taken_for_a_brain(head):
    magnitude, _ = head
    assert stripped_brain(magnitude, SIZE) is None
    outline = ndimage.binary_fill_holes(magnitude > 0.15)
    assert stripped_brain(magnitude * outline, SIZE) is None


def test_an_empty_image_has_no_brain():
    assert stripped_brain(np.zeros((5, 5, 5), np.float32), SIZE) is None
