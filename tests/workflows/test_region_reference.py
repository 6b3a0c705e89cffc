"""Chi relative to a region of the labels, through the whole command; and what happens without the region."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion
from test_segmentation import record, study, voxels, write

from qsmxt_app.segment.reference_region import inner_part
from qsmxt_app.workflows.segmentation import ReferToRegion

__all__ = ["study"]


def anat(out):
    return out / "sub-01" / "anat"


def table(out):
    path = anat(out) / "sub-01_desc-qsm_stats.tsv"
    values = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
    return values[values["map"] == "chi"].set_index("index")


def sidecar(out, name="sub-01_Chimap"):
    return json.loads((anat(out) / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def by_mean(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("mean") / "out"
    assert study.run(out, "--derivatives", str(study.freesurfer)) == 0
    return out


def test_chi_is_relative_to_both_sides_of_a_region(study, by_mean, tmp_path):
    out = tmp_path / "out"
    assert study.run(out, "--derivatives", str(study.freesurfer), "--reference", "Caudate") == 0
    labels = voxels(anat(out) / "sub-01_seg-aseg_dseg.nii.gz")
    mask = voxels(anat(out) / "sub-01_desc-qsm_mask.nii.gz") > 0
    where = binary_erosion(np.isin(labels, [11, 50]) & mask)
    chi, told = voxels(anat(out) / "sub-01_Chimap.nii.gz"), sidecar(out)
    assert abs(chi[where].mean()) < 1e-6
    assert np.all(chi[~mask] == 0)
    assert (told["Reference"], told["ReferenceLabels"]) == ("caudate", [11, 50])
    assert told["ReferenceVoxels"] == np.count_nonzero(where)
    rows = table(out)
    assert set(rows["reference"]) == {"caudate"}
    assert record(out)["reference"]["reference"] == "caudate"
    page = (out / "sub-01.html").read_text()
    assert f"relative to its mean over the labelled region caudate ({np.count_nonzero(where)} voxels)" in page
    assert "Values are relative to the mean over the region caudate" in page


def test_each_map_is_relative_to_its_own_mean(tmp_path, monkeypatch):
    """Over the same region, inside the mask alone; what was subtracted before is counted."""
    monkeypatch.chdir(tmp_path)
    rng, dseg = np.random.default_rng(5), np.zeros((6, 6, 6), np.int32)
    dseg[1:5, 1:5, 1:3], dseg[1:5, 1:5, 3:5] = 4, 43
    mask = np.ones(dseg.shape, np.uint8)
    mask[:3] = 0
    images = {"dseg": dseg, "mask": mask}
    images |= {name: rng.normal(size=dseg.shape).astype(np.float32) for name in ("chi", "chi_singlepass")}
    images["chi_echoes"] = rng.normal(size=(*dseg.shape, 2)).astype(np.float32)
    files = {name: str(write(array, np.eye(4), tmp_path / f"{name}.nii")) for name, array in images.items()}
    (tmp_path / "regions.tsv").write_text(
        "index\tname\n4\tLeft-Lateral-Ventricle\n43\tRight-Lateral-Ventricle\n"
    )
    (tmp_path / "before.json").write_text('{"reference_value_ppm": 0.25}')
    step = ReferToRegion(
        **files,
        reference="csf",
        regions=str(tmp_path / "regions.tsv"),
        combine_facts=str(tmp_path / "before.json"),
    )
    made = step.run().outputs
    region = (dseg > 0) & (mask > 0)
    for name in ("chi", "chi_singlepass"):
        expected = np.where(mask > 0, images[name] - images[name][region].mean(), 0)
        assert np.abs(voxels(getattr(made, name)) - expected).max() < 1e-6
    for echo in range(2):
        one = images["chi_echoes"][..., echo]
        expected = np.where(mask > 0, one - one[region].mean(), 0)
        assert np.abs(voxels(made.chi_echoes)[..., echo] - expected).max() < 1e-6
    told = json.loads(Path(made.facts).read_text())
    assert told["reference_labels"] == [4, 43]
    assert "chi" not in told["reference"]
    assert told["reference_voxels"] == np.count_nonzero(region)
    assert told["reference_value_ppm"] == pytest.approx(0.25 + images["chi"][region].mean(), abs=1e-6)


def test_the_border_of_a_region_does_not_count_where_enough_is_left():
    cube = np.zeros((12, 12, 12), bool)
    cube[2:9, 2:9, 2:9] = True
    assert np.array_equal(inner_part(cube), binary_erosion(cube))  # 125 voxels
    cube[7:] = False
    assert np.array_equal(inner_part(cube), cube)  # 75 would be left


def test_a_region_shifts_the_map_and_moves_no_label(study, by_mean, tmp_path):
    out = tmp_path / "out"
    assert study.run(out, "--derivatives", str(study.freesurfer), "--reference", "left caudate") == 0
    dseg = "sub-01_seg-aseg_dseg.nii.gz"
    assert (anat(out) / dseg).read_bytes() == (anat(by_mean) / dseg).read_bytes()
    assert set(table(out)["reference"]) == {"left caudate"}
    mask = voxels(anat(out) / "sub-01_desc-qsm_mask.nii.gz") > 0
    before, after = (voxels(anat(one) / "sub-01_Chimap.nii.gz") for one in (by_mean, out))
    shift = (before - after)[mask]
    # the map by the mean says how far the region lies from it
    labels = voxels(anat(out) / dseg)
    expected = before[binary_erosion((labels == 11) & mask)].mean()
    assert abs(expected) > 0.005
    assert np.abs(shift - expected).max() < 1e-6
    taken = [sidecar(one)["ReferenceValuePpm"] for one in (by_mean, out)]
    assert taken[1] - taken[0] == pytest.approx(expected, abs=1e-6)
    # and back again: the maps by the mean are written anew, from the cache
    assert study.run(out, "--derivatives", str(study.freesurfer)) == 0
    name = "sub-01_Chimap.nii.gz"
    assert (anat(out) / name).read_bytes() == (anat(by_mean) / name).read_bytes()
    assert sidecar(out)["Reference"] == "brain"


def test_a_region_that_is_in_no_table_stops_the_run_before_it_starts(study, tmp_path, capsys):
    out = tmp_path / "out"
    assert study.run(out, "--reference", "putamen") == 64
    assert (
        "--reference putamen is neither a region of the labels nor a mask file. " in capsys.readouterr().err
    )
    assert study.run(out, "--reference", "caudates", "--dry-run") == 0
    assert "label -> reference -> regions" in capsys.readouterr().out
    assert not out.exists()


def test_an_atlas_that_is_not_there_stops_the_run_before_it_starts(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    (tmp_path / "atlas").mkdir()
    out = tmp_path / "out"
    for atlas, text in (("X:A", "'X:A' was not found"), (str(tmp_path / "atlas"), "T1w.nii.gz does not")):
        assert study.run(out, "--atlas", atlas) == 66
        assert text in capsys.readouterr().err
    assert not out.exists()


def test_a_region_that_is_not_in_the_labels_leaves_chi_by_its_mean(study, by_mean, tmp_path, capsys):
    """FreeSurfer knows a hippocampus, these labels hold none."""
    out = tmp_path / "out"
    assert study.run(out, "--derivatives", str(study.freesurfer), "--reference", "hippocampus") == 1
    name = "sub-01_Chimap.nii.gz"
    assert (anat(out) / name).read_bytes() == (anat(by_mean) / name).read_bytes()
    assert sidecar(out)["Reference"] == "brain"
    assert set(table(out)["reference"]) == {"brain"}
    told = record(out)
    assert (told["status"], told["segmentation"]["status"]) == ("done", "done")
    assert "not to hippocampus: --reference hippocampus is neither a region" in "".join(told["warnings"])
    assert "Chi is relative to its mean, not to hippocampus" in capsys.readouterr().err


def test_labels_that_fail_leave_chi_by_its_mean(study, by_mean, tmp_path, capsys):
    """Labels of another head: they lie outside the brain of the T1w."""
    labels = nib.load(study.freesurfer / "sub-01" / "mri" / "aseg.mgz")
    away = tmp_path / "freesurfer" / "sub-01" / "mri" / "aseg.nii.gz"
    moved = labels.affine.copy()
    moved[:3, 3] += 300
    write(np.asarray(labels.dataobj).astype(np.int32), moved, away)
    out = tmp_path / "out"
    assert study.run(out, "--derivatives", str(tmp_path / "freesurfer"), "--reference", "caudate") == 1
    name = "sub-01_Chimap.nii.gz"
    assert (anat(out) / name).read_bytes() == (anat(by_mean) / name).read_bytes()
    told = record(out)
    assert told["segmentation"]["status"] == "failed"
    assert "Chi is relative to its mean, not to caudate: label_t1w: " in "".join(told["warnings"])
    assert "0% of its labelled voxels" in capsys.readouterr().err
