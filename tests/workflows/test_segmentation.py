"""Regions of a mini head through the whole command: labels of another program, an atlas, what goes wrong."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from mini_dataset import VOXEL_SIZE, mini_head, t1w_of, write_mini_dataset
from scipy.spatial.transform import Rotation

from qsmxt_app.bids.validation import find_issues
from qsmxt_app.cli import main
from qsmxt_app.registration import load_transform

AFFINE = np.diag([*VOXEL_SIZE, 1.0])
NUCLEI = {1: ("caudate", "L"), 2: ("caudate", "R"), 3: ("brainstem", "")}
FREESURFER = {1: 11, 2: 50, 3: 16}


def motion():
    """Take points of the head during the gradient echo to where they were during the T1w."""
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_euler("xyz", [4, -3, 6], degrees=True).as_matrix()
    moved[:3, 3] = [5, -4, 7]
    return moved


def write(array, affine, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


@dataclass(frozen=True)
class Study:
    raw: Path
    atlas: Path
    freesurfer: Path
    work: Path

    def run(self, out, *arguments):
        places = [str(self.raw), str(out), "participant", "-w", str(self.work), "--atlas", str(self.atlas)]
        quick = ["--no-two-pass", "--no-swi", "--no-chi-noise", "--skip-bids-validation"]
        return main([*places, *quick, *arguments])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Raw data of a head, its labels as of FreeSurfer, and an atlas made of the same head before it moved."""
    folder = tmp_path_factory.mktemp("regions")
    raw = write_mini_dataset(folder / "raw")
    head = mini_head(0)
    anat = raw / "sub-01" / "anat"
    t1w = t1w_of(head, np.random.default_rng(7))
    for path in anat.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"BodyPartExamined": "HEAD"}))
    for path in anat.glob("*part-mag*.nii.gz"):  # tissues differ in the gradient echo as well
        image = nib.load(path)
        write((image.get_fdata() * np.where(t1w > 0, 1.6 - t1w / 100, 1)).astype(np.float32), AFFINE, path)
    write(t1w, motion() @ AFFINE, anat / "sub-01_T1w.nii.gz")
    (anat / "sub-01_T1w.json").write_text("{}")
    labels = np.zeros(head.nuclei.shape, np.int32)
    for label, number in FREESURFER.items():
        labels[head.nuclei == label] = number
    aseg = folder / "freesurfer" / "sub-01" / "mri" / "aseg.mgz"
    aseg.parent.mkdir(parents=True)
    nib.freesurfer.MGHImage(labels, motion() @ AFFINE).to_filename(aseg)
    atlas = folder / "mini"
    write(t1w, AFFINE, atlas / "T1w.nii.gz")
    write(head.nuclei.astype(np.int16), AFFINE, atlas / "dseg.nii.gz")
    rows = [f"{index}\t{name}\t{side or 'n/a'}" for index, (name, side) in NUCLEI.items()]
    (atlas / "dseg.tsv").write_text("\n".join(["index\tname\themisphere", *rows]) + "\n")
    return Study(raw, atlas, folder / "freesurfer", folder / "work")


def record(out):
    return json.loads((out / "sub-01" / "figures" / "sub-01_desc-qsm_record.json").read_text())


def voxels(path):
    return nib.load(path).get_fdata()


def dice(found, truth):
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


@pytest.fixture(scope="module")
def with_freesurfer(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("freesurfer") / "out"
    spaces = ["--output-spaces", "template"]
    assert study.run(out, "--derivatives", str(study.freesurfer), *spaces) == 0
    return out


@pytest.fixture(scope="module")
def with_atlas(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("atlas") / "out"
    assert study.run(out, "--output-spaces", "native", "T1w", "template") == 0
    return out


def test_labels_of_another_program_find_their_place_in_the_map(with_freesurfer):
    labels = voxels(with_freesurfer / "sub-01" / "anat" / "sub-01_seg-aseg_dseg.nii.gz")
    truth = mini_head(0).nuclei
    for label, number in FREESURFER.items():
        assert dice(labels == number, truth == label) > 0.8


def test_the_transform_is_the_motion_of_the_head(with_freesurfer):
    anat = with_freesurfer / "sub-01" / "anat"
    to_t1w = load_transform(anat / "sub-01_from-QSM_to-T1w_mode-image_xfm.txt")
    to_qsm = load_transform(anat / "sub-01_from-T1w_to-QSM_mode-image_xfm.txt")
    middle = AFFINE @ [19.5, 22.5, 16.5, 1]
    corners = middle[:3] + 50 * np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    moved = corners @ motion()[:3, :3].T + motion()[:3, 3]
    # to bring an image from QSM to T1w, points of the T1w are looked up in the QSM
    assert np.abs(to_t1w.map_points(moved) - corners).max() < 2.5  # voxels of 4 mm
    assert np.abs(to_qsm.map_points(to_t1w.map_points(moved)) - moved).max() < 1e-3


def test_values_are_those_of_the_map_that_is_written(with_freesurfer):
    anat = with_freesurfer / "sub-01" / "anat"
    table = pd.read_csv(anat / "sub-01_desc-qsm_stats.tsv", sep="\t", na_values="n/a", keep_default_na=False)
    labels = voxels(anat / "sub-01_seg-aseg_dseg.nii.gz")
    mask = voxels(anat / "sub-01_desc-qsm_mask.nii.gz") > 0
    for name, suffix in (("chi", "Chimap"), ("r2star", "R2starmap"), ("t2star", "T2starmap")):
        values = voxels(anat / f"sub-01_{suffix}.nii.gz")
        rows = table[table["map"] == name].set_index("index")
        assert sorted(rows.index) == [11, 16, 50]
        for number in FREESURFER.values():
            assert rows.loc[number, "mean"] == pytest.approx(
                values[mask & (labels == number)].mean(), rel=1e-5
            )
            assert rows.loc[number, "n_voxels"] == np.count_nonzero(mask & (labels == number))
    chi = table[table["map"] == "chi"].set_index("index")
    assert chi.loc[11, "mean"] < chi.loc[50, "mean"] < chi.loc[16, "mean"]
    assert set(chi["reference"]) == {"brain"}
    assert list(chi.loc[[11, 50], "hemisphere"]) == ["L", "R"]


def test_the_output_is_valid_bids(with_freesurfer, with_atlas):
    for out in (with_freesurfer, with_atlas):
        assert find_issues(out, config=None) == []


def test_the_record_tells_how_regions_were_found(with_freesurfer):
    told = record(with_freesurfer)
    assert told["status"] == "done"
    regions = told["segmentation"]
    assert (regions["status"], regions["method"], regions["atlas"]) == ("done", "derivatives", "aseg")
    assert regions["t1w"] == "sub-01/anat/sub-01_T1w.nii.gz"
    assert regions["alignment"]["used"] == "registration"
    assert regions["alignment"]["cost_after"] < regions["alignment"]["cost_before"]
    names = {"dseg", "dseg_t1w", "t1w", "t1w_mask", "stats", "xfm_qsm_to_t1w", "xfm_t1w_to_qsm"}
    assert names <= set(told["outputs"])
    assert all((with_freesurfer / path).is_file() for path in told["outputs"].values())


def test_an_atlas_is_brought_to_the_t1w_and_to_the_map(with_atlas):
    anat, truth = with_atlas / "sub-01" / "anat", mini_head(0).nuclei
    for name in ("sub-01_seg-mini_dseg", "sub-01_space-T1w_seg-mini_dseg"):
        labels = voxels(anat / f"{name}.nii.gz")
        for label in NUCLEI:
            assert dice(labels == label, truth == label) > 0.75, name
    assert record(with_atlas)["segmentation"]["reason"] == "atlas mini, registered to sub-01_T1w.nii.gz"
    to_t1w = anat / "sub-01_from-mini_to-T1w_mode-image_xfm.h5"
    there = load_transform(to_t1w, anat / "sub-01_from-T1w_to-mini_mode-image_xfm.h5")
    middle = (AFFINE @ [19.5, 22.5, 16.5, 1])[:3]
    moved = motion()[:3, :3] @ middle + motion()[:3, 3]
    assert np.abs(there.map_points(moved) - middle).max() < 4


@pytest.mark.parametrize("space", ["T1w", "mini"])
def test_values_agree_between_spaces(with_atlas, space):
    anat, truth = with_atlas / "sub-01" / "anat", mini_head(0).nuclei
    labels = voxels(anat / f"sub-01_space-{space}_seg-mini_desc-qsm_dseg.nii.gz")
    mask = voxels(anat / f"sub-01_space-{space}_desc-qsm_mask.nii.gz") > 0
    native = voxels(anat / "sub-01_seg-mini_dseg.nii.gz")
    chi = voxels(anat / "sub-01_Chimap.nii.gz")
    spread = chi[voxels(anat / "sub-01_desc-qsm_mask.nii.gz") > 0].std()
    there = nib.load(anat / f"sub-01_space-{space}_Chimap.nii.gz")
    assert np.allclose(there.affine, (motion() if space == "T1w" else np.eye(4)) @ AFFINE, atol=1e-4)
    for label in NUCLEI:  # the head, the atlas and the T1w have the same voxels
        assert dice(labels == label, truth == label) > 0.75
        moved, before = there.get_fdata()[mask & (labels == label)], chi[native == label]
        assert abs(moved.mean() - before.mean()) < 0.15 * spread
    told = json.loads((anat / f"sub-01_space-{space}_Chimap.json").read_text())
    assert told["Sources"] == ["bids::sub-01/anat/sub-01_Chimap.nii.gz"]
    assert told["SpatialReference"].endswith("sub-01_T1w.nii.gz" if space == "T1w" else "mini")
    assert (anat / f"sub-01_space-{space}_R2starmap.nii.gz").is_file()
    assert (anat / f"sub-01_space-{space}_seg-mini_desc-qsm_dseg_LUT.txt").is_file()
    assert {"chi_in_t1w", "chi_in_template", "dseg_in_t1w"} <= set(record(with_atlas)["outputs"])


def test_labels_of_another_program_reach_the_template(with_freesurfer):
    anat = with_freesurfer / "sub-01" / "anat"
    labels = voxels(anat / "sub-01_space-mini_seg-aseg_desc-qsm_dseg.nii.gz")
    for label, number in FREESURFER.items():
        assert dice(labels == number, mini_head(0).nuclei == label) > 0.7


def test_regions_are_computed_once(study, with_atlas):
    before = (with_atlas / "sub-01" / "anat" / "sub-01_desc-qsm_stats.tsv").read_bytes()
    assert study.run(with_atlas, "--output-spaces", "T1w", "template") == 0
    newest = max((with_atlas / "logs").glob("*/qsmxt.log"), key=lambda path: path.stat().st_mtime_ns)
    ran = {line.split('"')[1] for line in newest.read_text().splitlines() if '[Node] Executing "' in line}
    assert ran <= {"report"}  # of which other outputs share the work folder
    assert (with_atlas / "sub-01" / "anat" / "sub-01_desc-qsm_stats.tsv").read_bytes() == before


def test_without_a_t1w_the_magnitude_is_labelled(study, tmp_path):
    raw = shutil.copytree(study.raw, tmp_path / "raw")
    for path in (raw / "sub-01" / "anat").glob("sub-01_T1w.*"):
        path.unlink()
    alone = Study(raw, study.atlas, study.freesurfer, study.work)
    assert alone.run(tmp_path / "out", "--output-spaces", "T1w", "template") == 0
    regions = record(tmp_path / "out")["segmentation"]
    assert "the magnitude, as there is no T1w" in regions["reason"]
    assert regions["t1w"] is None
    (warning,) = [text for text in record(tmp_path / "out")["warnings"] if "--output-spaces" in text]
    assert warning == "No maps in T1w space (--output-spaces): there is no T1w image."
    assert (tmp_path / "out" / "sub-01" / "anat" / "sub-01_space-mini_Chimap.nii.gz").is_file()
    assert (tmp_path / "out" / "sub-01" / "anat" / "sub-01_desc-qsm_stats.tsv").is_file()


def test_regions_that_fail_cost_no_map_and_are_named(study, tmp_path, capsys):
    raw = shutil.copytree(study.raw, tmp_path / "raw")
    t1w = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    write(np.zeros((20, 20, 20), np.float32), AFFINE, t1w)
    broken = Study(raw, study.atlas, study.freesurfer, study.work)
    out = tmp_path / "out"
    assert broken.run(out) == 1
    told = record(out)
    assert told["status"] == "done"
    assert (out / told["outputs"]["chi"]).is_file()
    assert told["segmentation"]["status"] == "failed"
    (error,) = told["segmentation"]["errors"]
    assert error["step"] == "prepare_t1w"
    assert "is constant" in error["message"]
    summary = capsys.readouterr().err
    assert "sub-01: 1 of 2 failed" in summary
    assert "sub-01 MEGRE (3 echoes) regions: prepare_t1w: The T1w image is constant" in summary


def test_missing_labels_cost_no_map_and_are_named(study, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    assert study.run(out, "--derivatives", str(tmp_path / "empty")) == 1
    assert record(out)["segmentation"]["errors"][0]["message"].startswith("--derivatives")
    assert "no labels of sub-01" in capsys.readouterr().err
    assert (out / "sub-01" / "anat" / "sub-01_Chimap.nii.gz").is_file()
    assert study.run(out, "--segmentation", "none") == 0
    told = record(out)["segmentation"]
    assert (told["status"], told["reason"], told["warnings"]) == ("none", "--segmentation none", [])


def test_a_dry_run_tells_how_regions_would_be_found(study, tmp_path, capsys):
    assert study.run(tmp_path / "out", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "regions: atlas mini, registered to sub-01_T1w.nii.gz" in told
    assert "prepare_t1w -> register_atlas -> label_t1w -> write_t1w -> align -> label -> regions" in told
