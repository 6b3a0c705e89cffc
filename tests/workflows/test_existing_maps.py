"""Maps of another program through the whole command: from its labels to the group."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from mini_dataset import VOXEL_SIZE, mini_head, t1w_of, write_mini_dataset

from qsmxt_app.cli import main
from qsmxt_app.registration import Image, apply

AFFINE = np.diag([*VOXEL_SIZE, 1.0])
SUBJECTS = ("01", "02", "03", "04")
SEEDS = {subject: 10 * index for index, subject in enumerate(SUBJECTS)}


def truth(subject):
    head = mini_head(SEEDS[subject])
    return np.where(head.head, head.chi, 0), head


def save(array, path, affine=AFFINE, **sidecar):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(array.astype(np.float32), affine).to_filename(path)
    if sidecar:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Raw data, and maps: in ppm, in ppb, in ppb without a sidecar, and none but one in another space."""
    folder = tmp_path_factory.mktemp("existing")
    raw, maps = write_mini_dataset(folder / "raw", SUBJECTS), folder / "other"
    for path in raw.glob("sub-*/anat/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"BodyPartExamined": "HEAD"}))
    save(truth("01")[0], maps / "sub-01" / "anat" / "sub-01_Chimap.nii.gz", Units="ppm")
    save(truth("01")[0], maps / "sub-01" / "anat" / "sub-01_desc-noise_Chimap.nii.gz", Units="ppm")
    save(1e3 * truth("02")[0], maps / "qsm" / "sub-02_desc-medi_Chimap.nii", Units="ppb")
    fine = Image(1e3 * truth("03")[0], AFFINE)
    grid = fine.grid.with_voxels(np.array([0.75, 0.75, 0.75]))
    inside = apply(Image(truth("03")[1].head.astype(np.float32), AFFINE), grid).array > 0.5
    moved = apply(fine, grid, interpolation="bspline").array
    save(np.where(inside, moved, 0), maps / "sub-03" / "anat" / "sub-03_Chimap.nii.gz", grid.affine)
    save(truth("04")[0], maps / "sub-04" / "anat" / "sub-04_space-MNI152NLin6Asym_Chimap.nii.gz")
    description = {"Name": "maps", "GeneratedBy": [{"Name": "SEPIA", "Version": "1.2"}, {"Name": "MEDI"}]}
    (maps / "dataset_description.json").write_text(json.dumps(description))
    atlas = folder / "mini"
    head = mini_head(0)
    t1w = t1w_of(head, np.random.default_rng(7))
    for path in raw.glob("sub-01/anat/*part-mag*.nii.gz"):  # tissues differ in the gradient echo as well
        save(nib.load(path).get_fdata() * np.where(t1w > 0, 1.6 - t1w / 100, 1), path)
    save(t1w, raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    (raw / "sub-01" / "anat" / "sub-01_T1w.json").write_text("{}")
    save(t1w, atlas / "T1w.nii.gz")
    nib.Nifti1Image(head.nuclei.astype(np.int16), AFFINE).to_filename(atlas / "dseg.nii.gz")
    rows = ("index\tname\themisphere", "1\tcaudate\tL", "2\tcaudate\tR", "3\tbrainstem\tn/a")
    (atlas / "dseg.tsv").write_text("\n".join(rows) + "\n")
    return raw, maps, atlas


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    raw, maps, atlas = study
    out = tmp_path_factory.mktemp("out") / "out"
    given = ["--chimap-derivatives", str(maps), "--atlas", str(atlas)]
    return out, main([str(raw), str(out), "participant", *given, "--skip-bids-validation"])


def record(out, subject):
    return json.loads(
        (out / f"sub-{subject}" / "figures" / f"sub-{subject}_desc-qsm_record.json").read_text()
    )


@pytest.mark.parametrize("subject", ["01", "02", "03"])
def test_the_map_is_taken_in_ppm_on_the_grid_of_the_scan(finished, subject):
    out, _ = finished
    found = nib.load(out / f"sub-{subject}" / "anat" / f"sub-{subject}_Chimap.nii.gz")
    chi, head = truth(subject)
    assert np.allclose(found.affine, AFFINE)
    mask = nib.load(out / f"sub-{subject}" / "anat" / f"sub-{subject}_desc-qsm_mask.nii.gz").get_fdata() > 0
    assert np.count_nonzero(mask ^ head.head) < 0.1 * np.count_nonzero(head.head)
    exact = subject != "03"  # that one was resampled twice, and its texture is finer than its voxels
    deep = head.nuclei > 0
    np.testing.assert_allclose(found.get_fdata()[deep], chi[deep], atol=1e-6 if exact else 0.02)
    assert np.corrcoef(found.get_fdata()[head.head], chi[head.head])[0, 1] > (0.99 if exact else 0.95)
    told = json.loads((out / f"sub-{subject}" / "anat" / f"sub-{subject}_Chimap.json").read_text())
    assert told["Units"] == "ppm"
    assert told["EstimationAlgorithm"] == "existing map of SEPIA 1.2, MEDI"
    assert any(source.startswith("bids:chimaps:") for source in told["Sources"])
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"raw", "chimaps"}


def test_regions_are_read_from_it(finished):
    out, _ = finished
    table = pd.read_csv(out / "sub-01" / "anat" / "sub-01_desc-qsm_stats.tsv", sep="\t", na_values="n/a")
    chi = table[table["map"] == "chi"].set_index("name")["mean"]
    assert chi["brainstem"] == pytest.approx(0.15, abs=0.05)
    assert "r2star" in set(table["map"])  # which the magnitude gives
    assert set(table[table["map"] == "chi"]["reference"]) == {"as given"}


def test_the_record_and_the_methods_name_whose_map_it_is(finished):
    out, _ = finished
    assert record(out, "01")["origin"] == {
        "file": "sub-01_Chimap.nii.gz",
        "program": "SEPIA 1.2, MEDI",
        "units": "ppm",
        "units_known_by": "its sidecar",
    }
    assert "tgv" not in record(out, "01")["timings"]
    second, third = (record(out, subject) for subject in ("02", "03"))
    assert any("is in ppb, known by its sidecar: converted to ppm" in text for text in second["warnings"])
    assert any("resampled to the grid of the magnitude" in text for text in third["warnings"])
    assert third["origin"]["units_known_by"] == "the spread of its values"
    text = " ".join((out / "logs" / "CITATION.md").read_text().split())
    assert "was not reconstructed here: an existing one, made by SEPIA 1.2, MEDI, was taken" in text
    assert "TGV-QSM" not in text
    assert "not reconstructed here" in (out / "sub-01.html").read_text()


def test_a_scan_without_a_map_is_named(finished):
    out, code = finished
    assert code == 1
    (error,) = record(out, "04")["errors"]
    assert "sub-04 MEGRE (3 echoes): no map in" in error["message"]


def test_the_group_works_on_them(study, finished):
    raw, _, _ = study
    out, _ = finished
    arguments = ["--participant-label", "01", "02", "03", "--skip-bids-validation"]
    assert main([str(raw), str(out), "group", *arguments]) == 0
    counts = nib.load(out / "tpl-study" / "anat" / "tpl-study_desc-count_Chimap.nii.gz")
    assert counts.get_fdata().max() == 3
    table = pd.read_csv(out / "group_stats.csv")  # the others have no contrast by which to label them
    chi = table[table["map"] == "chi"]
    assert list(chi["region"]) == ["caudate", "caudate", "brainstem"]
    np.testing.assert_allclose(chi["mean"], [0.05, 0.1, 0.15], atol=0.01)
    description = json.loads((out / "dataset_description.json").read_text())
    assert len(description["SourceDatasets"]) == 2
