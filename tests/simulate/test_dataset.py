"""The dataset on disk and the command that writes it."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from qsmxt_app.bids.validation import validate_dataset
from qsmxt_app.simulate import Protocol
from qsmxt_app.simulate import dataset as dataset_module
from qsmxt_app.simulate.command import main
from qsmxt_app.simulate.dataset import write_dataset
from qsmxt_app.simulate.person import make_person
from qsmxt_app.simulate.subject import _drawn_head
from qsmxt_app.simulate.tissues import LABELS

PROTOCOL = Protocol((4.0, 4.0, 4.0), snr=1e6)


@pytest.fixture(scope="module")
def dataset(scans, tmp_path_factory):
    """Files of the scan that other tests look at; another test simulates it again."""
    out = tmp_path_factory.mktemp("simulated")

    def simulated(*arguments):
        assert arguments == (31, 1, PROTOCOL, None)
        return scans.straight

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_module, "simulate_subject", simulated)
        write_dataset(out / "bids", seed=31, protocol=PROTOCOL, truth=out / "truth")
    return out


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_dataset_is_valid_bids(dataset):
    validate_dataset(dataset / "bids", config=None)
    names = {path.name for path in (dataset / "bids" / "sub-01" / "anat").iterdir()}
    assert len(names) == 2 * (5 * 2 + 1)


def test_another_run_never_mixes_with_an_earlier_one(dataset, capsys):
    before = digests(dataset)
    for other in ([], ["--truth", str(dataset / "truth")]):
        out = dataset / "bids" if not other else dataset / "new"
        assert main([str(out), *other]) == 73
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert "holds files already" in message
    assert digests(dataset) == before


def test_writing_again_elsewhere_gives_the_same_bytes(dataset):
    _drawn_head.cache_clear()
    make_person.cache_clear()
    write_dataset(dataset / "again", seed=31, protocol=PROTOCOL, truth=dataset / "truth again")
    assert digests(dataset / "again") == digests(dataset / "bids")
    assert digests(dataset / "truth again") == digests(dataset / "truth")


def test_images_are_the_simulated_ones(dataset, scans):
    folder = dataset / "bids" / "sub-01" / "anat"
    for echo in range(5):
        for part, expected in (("mag", scans.straight.magnitude), ("phase", scans.straight.phase)):
            stem = f"sub-01_echo-{echo + 1}_part-{part}_MEGRE"
            image = nib.load(folder / f"{stem}.nii.gz")
            np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected[..., echo])
            np.testing.assert_allclose(image.affine, scans.straight.affine, atol=1e-4)
            sidecar = json.loads((folder / f"{stem}.json").read_text())
            assert sidecar["EchoTime"] == scans.straight.echo_times[echo]
            assert sidecar["MagneticFieldStrength"] == 3.0
            assert sidecar.get("Units") == ("rad" if part == "phase" else None)


def test_truth_is_the_truth(dataset, scans):
    folder, truth = dataset / "truth" / "sub-01" / "anat", scans.straight.truth
    for name, expected, units in (
        ("Chimap", truth.chi, "ppm"),
        ("desc-total_fieldmap", truth.total_field, "Hz"),
        ("desc-local_fieldmap", truth.local_field, "Hz"),
        ("R2starmap", truth.r2star, "s^-1"),
        ("desc-offset_phase", truth.offset, "rad"),
        ("desc-brain_mask", truth.brain_mask, None),
        ("dseg", truth.labels, None),
    ):
        image = nib.load(folder / f"sub-01_{name}.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)
        if units:
            assert json.loads((folder / f"sub-01_{name}.json").read_text())["Units"] == units
    rows = [line.split("\t") for line in (folder / "sub-01_dseg.tsv").read_text().splitlines()]
    assert rows[0] == ["index", "name"]
    assert {name: int(index) for index, name in rows[1:]} == LABELS


def test_t1w_shows_the_head_where_the_motion_took_it(dataset, scans):
    image = nib.load(dataset / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    record = dataset / "truth" / "sub-01" / "anat" / "sub-01_desc-T1w_motion.json"
    motion = np.array(json.loads(record.read_text())["matrix"])
    np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-12)
    labels, data = scans.straight.truth.labels, image.get_fdata()

    def levels(name, motion):
        index = np.argwhere(np.isin(labels, [LABELS[name]]))
        to_t1w = np.linalg.inv(image.affine) @ motion @ scans.straight.affine
        values = map_coordinates(data, (index @ to_t1w[:3, :3].T + to_t1w[:3, 3]).T, order=1)
        return np.median(values), values.std()

    white, spread = levels("Left-Cerebral-White-Matter", motion)
    grey, fluid = levels("Left-Cerebral-Cortex", motion)[0], levels("Ventricles", motion)[0]
    assert white > 1.2 * grey > 1.2 * 1.2 * fluid
    assert levels("Left-Cerebral-White-Matter", np.eye(4))[1] > 1.3 * spread
    air = levels("Background", motion)[0]
    assert air < 0.1 * white


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "OUT"),
        (["x", "--voxel-size", "1", "2"], "--voxel-size"),
        (["x", "--voxel-size", "nan"], "voxel"),
        (["x", "--echo-times", "0.02", "0.01"], "echo times"),
        (["x", "--echo-times", "5", "10"], "echo times"),
        (["x", "--b0", "-3"], "B0"),
        (["x", "--b0-direction", "0", "0", "0"], "B0"),
        (["x", "--snr", "0"], "signal-to-noise"),
        (["x", "--subjects", "0"], "--subjects"),
        (["x", "--seed", "-1"], "--seed"),
        (["x", "--seed", "one"], "--seed"),
    ],
)
def test_wrong_usage(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 64
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert words in message
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_created(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file" / "bids")]) == 73
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(tmp_path / "file") in message
