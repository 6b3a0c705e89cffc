"""One scan in Python has the maps that the command writes for it."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import ECHO_TIMES, FIELD_STRENGTH, VOXEL_SIZE

from qsmxt_app import Reconstruction, reconstruct
from qsmxt_app.errors import UnusableData, WrongUsage


def echoes(raw, part):
    return sorted(raw.glob(f"sub-01/anat/sub-01_run-1_echo-*_part-{part}_MEGRE.nii.gz"))


def voxels(path):
    return np.asarray(nib.load(path).dataobj, np.float32)


@pytest.fixture(scope="module")
def result(finished) -> Reconstruction:
    # the sidecars tell the command that it is a phantom
    return reconstruct(
        echoes(finished.raw, "mag"), echoes(finished.raw, "phase"), two_pass=False, brain_mask=False
    )


def test_maps_are_those_of_the_command(finished, result):
    anat, fmap = finished.out / "sub-01" / "anat", finished.out / "sub-01" / "fmap"
    expected = {
        "chi": anat / "sub-01_run-1_Chimap.nii.gz",
        "mask": anat / "sub-01_run-1_desc-qsm_mask.nii.gz",
        "chi_noise": anat / "sub-01_run-1_desc-noise_Chimap.nii.gz",
        "r2star": anat / "sub-01_run-1_R2starmap.nii.gz",
        "total_field": fmap / "sub-01_run-1_desc-total_fieldmap.nii.gz",
    }
    made = result.images()
    for name, path in expected.items():
        np.testing.assert_array_equal(made[name][0], voxels(path), err_msg=name)


def test_saved_images_tell_their_units_and_how_they_were_made(result, tmp_path):
    paths = result.save(tmp_path / "new" / "maps")
    assert {path.name for path in paths} == {f"{name}.nii.gz" for name in result.images()}
    np.testing.assert_array_equal(voxels(tmp_path / "new" / "maps" / "chi.nii.gz"), result.chi)
    sidecar = json.loads((tmp_path / "new" / "maps" / "chi.json").read_text())
    assert sidecar["Units"] == "ppm"
    assert sidecar["GeneratedBy"][0]["Settings"]["two_pass"] is False
    assert repr(result).startswith("<Reconstruction of 40 x 46 x 34 voxels: chi ")


def test_arrays_give_the_same_as_files(finished, result):
    magnitude, phase = (
        np.stack([voxels(path) for path in echoes(finished.raw, part)], axis=-1) for part in ("mag", "phase")
    )
    again = reconstruct(
        magnitude, phase, echo_times=ECHO_TIMES, field_strength=FIELD_STRENGTH, voxel_size=VOXEL_SIZE,
        two_pass=False, brain_mask=False, swi=False, chi_noise=False, chi_error=False,
        separation="closed_form", r2=np.full(magnitude.shape[:3], 12.0),
    )  # fmt: skip
    np.testing.assert_array_equal(again.chi, result.chi)
    assert "chi_noise" not in again.maps
    told = again.facts["separation"]
    assert (told["method"], told["r2_measured_share"]) == ("closed_form", 1)
    assert {"paramagnetic", "diamagnetic"} <= again.maps.keys()
    assert set(told["warnings"]) <= set(again.warnings)


KNOWN = {"echo_times": (0.01, 0.02), "field_strength": 3.0, "voxel_size": (1, 1, 1)}
ONES = np.ones((4, 4, 4, 2), np.float32)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"voxel_size": None}, "voxel_size in mm"),
        ({"echo_times": (0.01,)}, "2 echoes"),
        ({"echo_times": (10, 20)}, "in s"),
        ({"field_strength": None}, "field_strength in T"),
        ({"two_passes": True}, "two_pass"),
        ({"inversion": "tvv"}, "tv"),
    ],
)
def test_what_is_missing_or_unknown_is_named(given, words):
    with pytest.raises(WrongUsage, match=words):
        reconstruct(ONES, ONES, **KNOWN | given)


def test_data_without_contrast_and_of_other_shapes_are_refused():
    with pytest.raises(UnusableData):
        reconstruct(ONES, ONES, **KNOWN)
    with pytest.raises(WrongUsage, match=r"\(4, 4, 4, 1\)"):
        reconstruct(ONES, ONES[..., :1], **KNOWN)
    with pytest.raises(UnusableData, match="mask"):
        reconstruct(ONES, ONES, mask=ONES[0], **KNOWN)
    with pytest.raises(UnusableData, match="R2 has shape"):
        reconstruct(ONES, np.cumsum(ONES, axis=0), r2=ONES[0], **KNOWN)


def test_the_example_of_the_documentation_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[-1]
    exec(example, {})  # noqa: S102 (our own)
    errors = {
        name: int(error) for name, error in re.findall(r"(\w+): error (\d+) ppb", capsys.readouterr().out)
    }
    assert errors.keys() == {"gre", "consensus"}
    # the standard deviation of the truth is about 45 ppb
    assert max(errors.values()) < 45
