"""A small object is processed as if it were as large as a head."""

import json

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.cli import main
from qsmxt_app.records.scan import read_records
from qsmxt_app.workflows.length_scale import HEAD_FIELD_OF_VIEW_MM, length_scale


@pytest.mark.parametrize(
    ("edges", "shape", "small"),
    [
        ((0.1, 0.1, 0.1), (128, 200, 100), True),  # a mouse
        ((0.15, 0.15, 0.3), (200, 200, 50), True),
        ((0.25, 0.25, 0.25), (880, 880, 640), False),  # the finest scan of a person
        ((0.1, 0.1, 0.1), (2000, 2000, 100), False),
        ((0.47, 0.47, 1.0), (51, 51, 41), False),  # a crop of a head
        ((1.0, 1.0, 1.0), (256, 256, 192), False),
    ],
)
def test_only_what_no_scan_of_a_person_has_is_small(edges, shape, small):
    scale = length_scale(edges, shape, "auto")
    assert scale == (length_scale(edges, shape, "small") if small else 1)
    assert length_scale(edges, shape, "head") == 1
    assert length_scale(edges, shape, "small") * max(np.multiply(edges, shape)) == pytest.approx(
        HEAD_FIELD_OF_VIEW_MM
    )


def shrink(path, factor):
    image = nib.load(path)
    affine = image.affine.copy()
    affine[:3] /= factor
    nib.Nifti1Image(np.asarray(image.dataobj), affine).to_filename(path)


def test_a_head_scaled_down_has_the_map_of_the_head(tmp_path):
    chi, records = [], []
    for name, factor in (("head", 1), ("mouse", 40)):
        raw = write_mini_dataset(tmp_path / name / "raw")
        for path in raw.rglob("*.nii.gz"):
            shrink(path, factor)
        out = tmp_path / name / "out"
        arguments = ["participant", "--no-two-pass", "--no-swi", "--no-chi-noise", "--report-volumes", "none"]
        arguments += ["--preset", "small" if name == "head" else "auto"]
        assert main([str(raw), str(out), *arguments, "--skip-bids-validation"]) == 0
        chi.append(nib.load(out / "sub-01" / "anat" / "sub-01_Chimap.nii.gz").get_fdata())
        records += read_records(out, "01")
    # the affine's rounding is all that differs
    assert np.abs(chi[1] - chi[0]).max() < 0.01 * chi[0].std()
    head, mouse = records
    assert mouse.inputs.length_scale == pytest.approx(40 * head.inputs.length_scale)
    assert mouse.mask.volume_ml == pytest.approx(head.mask.volume_ml / 40**3, rel=1e-4)
    assert mouse.preset.preset == "small"
    page = (tmp_path / "mouse" / "out" / "sub-01.html").read_text()
    assert "times as large" in page
    assert "The mask holds 0 ml" not in page
    told = json.loads((tmp_path / "mouse" / "out/sub-01/anat/sub-01_Chimap.json").read_text())
    assert told["ObjectSize"] == "small"
