import gzip
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.derivatives import (
    bids_uri,
    derivative_path,
    image_sidecar,
    initialise_derivative,
    save_image,
    sidecar_path,
)
from qsmxt_app.bids.validation import find_issues
from qsmxt_app.errors import CannotCreateOutput, WrongUsage

OBLIQUE = np.array([[0.9, -0.1, 0.2, -80], [0.1, 0.9, -0.3, -90], [-0.15, 0.25, 1.8, -60], [0, 0, 0, 1.0]])
VOXELS = np.random.default_rng(6).normal(size=(6, 7, 8)).astype(np.float32)


def _description(out):
    return json.loads((out / "dataset_description.json").read_text())


def test_description_of_a_new_derivative(raw, tmp_path):
    out = tmp_path / "out" / "qsmxt"
    container = {"Type": "docker", "Tag": "qsmxt:1.2.3"}
    initialise_derivative(out, raw.root, "1.2.3", container=container)
    description = _description(out)
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"] == [{"Name": "qsmxt", "Version": "1.2.3", "Container": container}]
    assert description["DatasetLinks"] == {"raw": raw.root.as_uri()}
    assert {"*.html", "figures", "*_stats.*"} <= set((out / ".bidsignore").read_text().split())


def test_a_derivative_inside_its_dataset_moves_with_it(raw):
    out = raw.root / "derivatives" / "qsmxt"
    initialise_derivative(out, raw.root, "1")
    assert _description(out)["DatasetLinks"] == {"raw": "../.."}


def test_what_users_added_is_kept(raw, tmp_path):
    out = tmp_path / "out"
    initialise_derivative(out, raw.root, "1")
    other = {"Name": "by hand", "Version": "0"}
    changed = _description(out) | {"Authors": ["A. Body"], "DatasetLinks": {"atlas": "https://example.org"}}
    changed["GeneratedBy"].append(other)
    (out / "dataset_description.json").write_text(json.dumps(changed))
    (out / ".bidsignore").write_text("mine\n")
    (out / "README.md").write_text("mine")
    initialise_derivative(out, raw.root, "2")
    description = _description(out)
    assert description["Authors"] == ["A. Body"]
    assert description["GeneratedBy"] == [{"Name": "qsmxt", "Version": "2"}, other]
    assert description["DatasetLinks"].keys() == {"atlas", "raw"}
    assert (out / ".bidsignore").read_text().startswith("mine\n*.html\n")
    assert (out / "README.md").read_text() == "mine"


def _initialise(out_and_raw):
    for _ in range(20):
        initialise_derivative(*out_and_raw, "1")


def test_many_processes_at_once(raw, tmp_path, processes):
    out = tmp_path / "out"
    with ProcessPoolExecutor(4, mp_context=processes) as pool:
        list(pool.map(_initialise, [(out, raw.root)] * 4))
    assert sorted(path.name for path in out.iterdir()) == [
        ".bidsignore",
        "README.md",
        "dataset_description.json",
    ]
    lines = (out / ".bidsignore").read_text().splitlines()
    assert len(lines) == len(set(lines))


def _raw_elsewhere(raw, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    return other


def _other_pipeline(raw, tmp_path):
    other = _raw_elsewhere(raw, tmp_path)
    description = {"Name": "x", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (other / "dataset_description.json").write_text(json.dumps(description))
    return other


def _participants_only(raw, tmp_path):
    (tmp_path / "other" / "sub-01").mkdir(parents=True)
    return tmp_path / "other"


def _file(raw, tmp_path):
    (tmp_path / "other").touch()
    return tmp_path / "other"


def _link(raw, tmp_path):
    (tmp_path / "other").symlink_to(raw.root)
    return tmp_path / "other"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (lambda raw, tmp_path: raw.root, "is the raw dataset"),
        (_link, "is the raw dataset"),
        (lambda raw, tmp_path: raw.root / "sub-01" / "qsm", "only read"),
        (lambda raw, tmp_path: raw.root / "out", "only read"),
        (_raw_elsewhere, "is a raw dataset"),
        (_other_pipeline, "derivative of fMRIPrep"),
        (_participants_only, "no dataset_description.json"),
        (_file, "is a file"),
        (lambda raw, tmp_path: _file(raw, tmp_path) / "deep", "cannot be created"),
    ],
)
def test_folders_that_are_not_written_to(raw, tmp_path, place, text):
    out = place(raw, tmp_path)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(CannotCreateOutput, match=text) as error:
        initialise_derivative(out, raw.root, "1")
    assert error.value.exit_code == 73
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_names():
    entities = {"sub": "01", "ses": "A", "acq": "x", "rec": "norm", "run": "2"}
    out = Path("out")
    assert derivative_path(out, entities, "Chimap", desc="singlepass") == Path(
        "out/sub-01/ses-A/anat/sub-01_ses-A_acq-x_rec-norm_run-2_desc-singlepass_Chimap.nii.gz"
    )
    # BIDS allows no rec- for field maps; the name must stay unique all the same.
    assert derivative_path(out, entities, "fieldmap", desc="total", datatype="fmap") == Path(
        "out/sub-01/ses-A/fmap/sub-01_ses-A_acq-x+recnorm_run-2_desc-total_fieldmap.nii.gz"
    )
    assert derivative_path(
        out, entities, "record", desc="qsm", datatype="figures", extension=".json"
    ) == Path("out/sub-01/figures/sub-01_ses-A_acq-x_rec-norm_run-2_desc-qsm_record.json")
    with pytest.raises(WrongUsage):
        derivative_path(out, {"sub": "../../01"}, "Chimap")
    with pytest.raises(WrongUsage):
        derivative_path(out, {"sub": "01"}, "Chimap", desc="a/b")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (VOXELS, np.float32),
        (VOXELS.astype(np.float64), np.float32),
        (VOXELS > 0, np.uint8),
        ((VOXELS * 100).astype(np.int64), np.int16),
        (np.full((2, 2, 2), 70000), np.int32),
        (np.full((2, 2, 2), 300, np.uint16), np.int16),
    ],
)
def test_images_come_back_as_they_were(tmp_path, array, dtype):
    path = save_image(array, OBLIQUE, tmp_path / "a.nii.gz")
    image = nib.load(path)
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), array.astype(dtype))
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-5)
    assert image.header["sform_code"] == 1
    assert image.header.get_xyzt_units()[0] == "mm"


def test_same_voxels_same_bytes(tmp_path):
    first = save_image(VOXELS, OBLIQUE, tmp_path / "a.nii.gz").read_bytes()
    second = save_image(VOXELS.copy(order="F"), OBLIQUE, tmp_path / "b" / "c.nii.gz").read_bytes()
    assert first == second
    assert first[3] & 0x08 == 0, "the gzip header holds a file name"
    assert first[4:8] == bytes(4), "the gzip header holds a time"
    assert gzip.decompress(first)[344:348] == b"n+1\x00"


def test_uris_do_not_depend_on_how_a_folder_is_spelled(raw, monkeypatch):
    file = raw.file("sub-01_T1w.nii.gz")
    monkeypatch.chdir(raw.root.parent)
    for root in (Path("raw"), Path("raw/../raw"), raw.root / "sub-01" / ".."):
        assert bids_uri(file, root) == "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"
    link = raw.file("sub-01_annexed_T1w.nii.gz")
    link.symlink_to("/annex/objects/x")
    assert bids_uri(link, raw.root).endswith("sub-01/anat/sub-01_annexed_T1w.nii.gz")


def test_sidecar(raw, tmp_path):
    source = raw.file("sub-01_echo-1_part-mag_MEGRE.nii.gz")
    sidecar = image_sidecar(
        [bids_uri(source, raw.root)] * 2,
        units="ppm",
        skull_stripped=False,
        algorithm="TGV-QSM",
        parameters={"Alpha": (np.float32(0.1), 0.2)},
    )
    path = save_image(VOXELS, OBLIQUE, tmp_path / "sub-01_Chimap.nii.gz", sidecar)
    assert json.loads(sidecar_path(path).read_text()) == {
        "Sources": ["bids:raw:sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"],
        "Units": "ppm",
        "SkullStripped": False,
        "EstimationAlgorithm": "TGV-QSM",
        "Alpha": [0.1, 0.2],
    }


@pytest.fixture
def derivative(empty_dataset, tmp_path):
    """Everything that is written for scans whose names carry all that BIDS allows."""
    empty_dataset.megre("sub-01_ses-A_acq-x_rec-norm_run-1")
    empty_dataset.echo("sub-01_ses-A_acq-x_rec-norm_run-1", None, "T2starw")
    empty_dataset.megre("sub-02")
    out = tmp_path / "out"
    initialise_derivative(out, empty_dataset.root, "1.0.0", container={"Type": "docker", "Tag": "qsmxt:1"})
    images = (
        ("Chimap", None, "anat", "ppm"),
        ("Chimap", "singlepass", "anat", "ppm"),
        ("R2starmap", None, "anat", "1/s"),
        ("T2starmap", None, "anat", "s"),
        ("S0map", None, "anat", "arbitrary"),
        ("mask", "brain", "anat", None),
        ("mask", "qsm", "anat", None),
        ("mask", "reliable", "anat", None),
        ("fieldmap", "total", "fmap", "Hz"),
        ("fieldmap", "local", "fmap", "Hz"),
        ("magnitude", "total", "fmap", "arbitrary"),
        ("magnitude", "local", "fmap", "arbitrary"),
    )
    acquisitions = find_acquisitions(open_dataset(empty_dataset.root)).acquisitions
    assert len(acquisitions) == 3
    for acquisition in acquisitions:
        for suffix, desc, datatype, units in images:
            path = derivative_path(out, acquisition.output_entities, suffix, desc=desc, datatype=datatype)
            assert not path.exists()
            sidecar = image_sidecar(
                [bids_uri(file, empty_dataset.root) for file in acquisition.files],
                units=units,
                skull_stripped=False if units else None,
                algorithm="test",
                parameters={"MagneticFieldStrength": 3.0, "EchoTimes": acquisition.echo_times},
            )
            array = VOXELS if units else VOXELS > 0
            save_image(array, acquisition.affine, path, sidecar)
        record = derivative_path(
            out, acquisition.output_entities, "record", desc="qsm", datatype="figures", extension=".json"
        )
        record.parent.mkdir(exist_ok=True)
        record.write_text("{}")
    (out / "sub-01.html").write_text("<html></html>")
    (out / "sub-01" / "figures" / "sub-01_desc-chi_Chimap.svg").write_text("<svg/>")
    (out / "logs" / "20260101").mkdir(parents=True)
    (out / "logs" / "20260101" / "config.toml").write_text("a = 1\n")
    (out / "group_stats.csv").write_text("a,b\n")
    (out / ".locks").mkdir()
    (out / ".locks" / "sub-01.lock").write_text("{}")
    stats = derivative_path(out, {"sub": "02"}, "stats", desc="qsm", extension=".tsv")
    stats.write_text("region\tmean\npallidum\t0.1\n")
    return out


def test_everything_that_is_written_is_valid_bids(derivative):
    assert find_issues(derivative, config=None) == []


def test_the_validator_would_have_found_a_mistake(derivative):
    (sidecar,) = derivative.rglob("sub-02_Chimap.json")
    sidecar.write_text("{}")
    (codes,) = {issue.code for issue in find_issues(derivative, config=None)}
    assert codes == "SIDECAR_KEY_REQUIRED: SkullStripped"


def test_an_image_without_orientation_stays_one(tmp_path):
    header = nib.nifti1.Nifti1Header()
    header.set_data_shape((4, 5, 6))
    header.set_zooms((1.0, 2.0, 3.0))
    affine = header.get_best_affine()
    voxels = np.random.default_rng(1).random((4, 5, 6), np.float32)
    written = nib.load(save_image(voxels, affine, tmp_path / "sub-01_Chimap.nii.gz", oriented=False))
    assert written.header["sform_code"] == written.header["qform_code"] == 0
    np.testing.assert_allclose(written.affine, affine)
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), voxels)


@pytest.mark.parametrize("name", ["logs", "sub-01", "sub-01/anat", "sub-01/ses-A/anat", "tpl-study"])
def test_a_link_in_place_of_a_folder_is_refused(raw, tmp_path, name):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    initialise_derivative(out, raw.root, "1")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).symlink_to(elsewhere)
    with pytest.raises(CannotCreateOutput, match="is a link"):
        initialise_derivative(out, raw.root, "1")
    assert not list(elsewhere.iterdir())


def test_the_output_folder_itself_may_be_a_link(raw, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.symlink_to(elsewhere)
    initialise_derivative(out, raw.root, "1")
    assert (elsewhere / "dataset_description.json").exists()
