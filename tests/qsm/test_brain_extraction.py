import sys

import nibabel
import numpy as np
import pytest

from qsmxt_app.qsm.brain_extraction import brain_extraction
from qsmxt_app.qsm.magnitude import combine_magnitude


def head(voxel_size):
    """Brain of known size, 6 mm of dark skull, scalp."""
    shape = tuple(round(length / size) for length, size in zip((200, 220, 190), voxel_size, strict=True))
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, voxel_size, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")

    def inside(grow):
        return (x / (64 + grow)) ** 2 + (y / (78 + grow)) ** 2 + (z / (60 + grow)) ** 2 <= 1

    brain = inside(0)
    noise = np.random.default_rng(6).normal(0, 0.03, (2, *shape))
    signal = brain * (1 + 0.2 * np.sin(x / 9) * np.sin(y / 9)) + (inside(13) & ~inside(6)) * 0.9
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32), brain, inside(6)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("voxel_size", [(3.0, 3.0, 3.0), (2.0, 2.0, 5.0)])
def test_a_brain_of_known_size(voxel_size):
    pytest.importorskip("brainextractor")
    magnitude, brain, skull = head(voxel_size)
    extracted = brain_extraction(magnitude, voxel_size=voxel_size)
    assert extracted.shape == brain.shape
    assert np.count_nonzero(extracted & brain) / np.count_nonzero(brain) > 0.97
    # the surface comes to rest in the dark skull, not in the scalp
    assert np.count_nonzero(extracted & ~skull) / np.count_nonzero(extracted) < 0.02


def test_a_slab_that_cuts_the_brain_is_no_trouble():
    pytest.importorskip("brainextractor")
    magnitude, brain, _ = head((3.0, 3.0, 3.0))
    slab = np.ascontiguousarray(magnitude[:, :, 25:41])
    extracted = brain_extraction(slab, voxel_size=(3.0, 3.0, 3.0))
    assert dice(extracted, brain[:, :, 25:41]) > 0.85


def test_a_real_head(test_data):
    pytest.importorskip("brainextractor")
    folder = test_data / "philips-3t"
    stem = "nifti_GRE/2001_fcMRI_Field_Mapping_e{}.nii.gz"
    echoes = [np.asanyarray(nibabel.load(folder / stem.format(echo)).dataobj) for echo in (1, 2)]
    magnitude = combine_magnitude(np.stack(echoes, -1).astype(np.float32))
    reference = nibabel.load(folder / "reference_masks_labels/GRE_deepbet_mask.nii.gz").get_fdata() > 0
    extracted = brain_extraction(magnitude, voxel_size=(3, 3, 3))
    assert np.count_nonzero(extracted & reference) / np.count_nonzero(reference) > 0.98
    assert dice(extracted, reference) > 0.75


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "brainextractor", None)
    with pytest.raises(ValueError, match=r"pip install .*bet"):
        brain_extraction(np.ones((5, 5, 5), np.float32), voxel_size=(1, 1, 1))


@pytest.mark.parametrize(
    ("magnitude", "fraction", "message"),
    [
        (np.zeros((9, 9, 9)), 0.5, "with signal"),
        (np.ones((9, 9, 9, 2)), 0.5, "volume"),
        (np.ones((9, 9, 9)), 1.0, "between 0 and 1"),
    ],
)
def test_wrong_input_is_refused(magnitude, fraction, message):
    pytest.importorskip("brainextractor")
    with pytest.raises(ValueError, match=message):
        brain_extraction(magnitude, voxel_size=(1, 1, 1), fractional_intensity=fraction)
