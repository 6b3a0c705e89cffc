import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qsmxt_app.bids import validation
from qsmxt_app.bids.validation import CONFIG, find_issues, printable, validate_dataset
from qsmxt_app.errors import InvalidDataset, QsmxtError


def test_the_configuration_at_the_top_is_the_packaged_one():
    top = Path(__file__).parents[2] / "bids_validator_config.json"
    assert top.read_bytes() == CONFIG.read_bytes()


def test_errors_are_listed_by_kind(raw):
    for number in range(3):
        (raw.root / "sub-01" / "anat" / f"scan{number}.nii.gz").write_bytes(b"x")
    (raw.root / "dataset_description.json").unlink()
    with pytest.raises(InvalidDataset) as error:
        validate_dataset(raw.root)
    assert error.value.exit_code == 16
    first, *lines, last = str(error.value).splitlines()
    assert first == f"{raw.root}: not valid BIDS, 4 errors:"
    assert any("sub-01/anat/scan0.nii.gz (and 2 more): NOT_INCLUDED" in line for line in lines)
    assert any("dataset_description.json: MISSING_DATASET_DESCRIPTION" in line for line in lines)
    assert len(lines) == 2
    assert "--skip-bids-validation" in last


def test_only_the_selected_participants_count(raw):
    (raw.root / "sub-02" / "anat" / "scan.nii.gz").write_bytes(b"x")
    (raw.root / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\n")
    validate_dataset(raw.root, subjects=["01"])
    with pytest.raises(InvalidDataset, match="NOT_INCLUDED"):
        validate_dataset(raw.root, subjects=["02"])


def test_what_concerns_one_scan_or_is_never_read_stops_nothing(empty_dataset):
    raw = empty_dataset
    for subject in ("sub-01", "sub-02", "sub-03"):
        raw.megre(subject)
    os.truncate(raw.file("sub-01_echo-1_part-mag_MEGRE.nii.gz"), 30)
    os.truncate(raw.file("sub-01_echo-2_part-mag_MEGRE.nii.gz"), 0)
    raw.metadata("sub-01_echo-3_part-mag_MEGRE.json", EchoTime=None)
    raw.metadata("sub-02_echo-1_part-phase_MEGRE.json", Units=None)
    raw.file("sub-02_echo-2_part-mag_MEGRE.json").write_text("{")
    annex = "../../.git/annex/objects/x/y/MD5E-s1--z.nii.gz/MD5E-s1--z.nii.gz"
    for name, target in (("03_echo-1", annex), ("03_echo-2", "nowhere.nii.gz")):
        path = raw.file(f"sub-{name}_part-mag_MEGRE.nii.gz")
        path.unlink()
        path.symlink_to(target)
    events = raw.root / "sub-01" / "func" / "sub-01_task-x_events.tsv"
    events.parent.mkdir()
    events.write_text("wrong\n1\n")
    (raw.root / "participants.tsv").write_text("participant_id\nsub-01\n")
    # Without its configuration the validator complains about each of these.
    assert {issue.code for issue in find_issues(raw.root, config=None)} >= {
        "NIFTI_HEADER_UNREADABLE",
        "EMPTY_FILE",
        "SIDECAR_KEY_REQUIRED: EchoTime",
        "SIDECAR_KEY_REQUIRED: Units",
        "JSON_INVALID",
        "SYMLINK_BROKEN",
        "PARTICIPANT_ID_MISMATCH",
    }
    assert find_issues(raw.root) == []


def test_without_home_network_and_path(raw, tmp_path):
    """The validator must run in a container as any user, without a network."""
    code = (
        "import sys, pathlib, qsmxt_app.bids.validation as v; v.validate_dataset(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(raw.root)]
    if unshare := shutil.which("unshare"):
        alone = [unshare, "--net", "--map-root-user"]
        if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
            command = alone + command
    environment = {
        "HOME": "/dev/null/home",
        "TMPDIR": str(tmp_path / "temporary"),
        "PATH": "/nonexistent",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list((tmp_path / "temporary").iterdir()), "the validator left its cache behind"


@pytest.mark.parametrize(
    "code",
    ["raise ImportError('no module named bids_validator_deno')", "print('{')", "import sys; sys.exit(3)"],
)
def test_a_validator_that_cannot_run(raw, monkeypatch, code):
    monkeypatch.setattr(validation, "_validator", lambda scratch: [sys.executable, "-c", code])
    with pytest.raises(QsmxtError, match=r"could not run \(.+\)\..*--skip-bids-validation") as error:
        validate_dataset(raw.root)
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)


def test_a_validator_that_is_not_installed(raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "deno", None)
    raw.megre("sub-01")
    with pytest.raises(QsmxtError, match="deno"):
        validate_dataset(raw.root)


def test_validation_in_memory_where_there_is_no_disk(raw, monkeypatch):
    raw.megre("sub-01")
    monkeypatch.setattr(validation.tempfile, "tempdir", "/dev/shm")
    validate_dataset(raw.root)


def test_no_room_for_temporary_files(raw, monkeypatch):
    def full(*args, **kwargs):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(validation.tempfile, "mkdtemp", full)
    with pytest.raises(QsmxtError, match=r"No usable temporary directory.*--skip-bids-validation"):
        validate_dataset(raw.root)


def test_a_valid_dataset_is_accepted_and_not_changed(raw):
    before = {path: path.stat().st_mtime_ns for path in raw.root.rglob("*")}
    validate_dataset(raw.root, subjects=["01"])
    assert {path: path.stat().st_mtime_ns for path in raw.root.rglob("*")} == before


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[31mb\nc") == "a?[31mb?c"
    report = {"issues": {"issues": [{"code": "NOT_INCLUDED", "location": "/sub-01/\x1b[2J.nii"}]}}
    (issue,) = validation._issues(report)
    assert "\x1b" not in str(issue)


def test_the_configuration_holds_objects():
    content = json.loads(CONFIG.read_text())
    assert all(isinstance(entry, dict) for entry in content["ignore"])


def test_a_validator_that_does_not_end_is_given_up(raw, monkeypatch):
    monkeypatch.setattr(validation, "VALIDATOR_SECONDS", 0.001)
    with pytest.raises(QsmxtError, match="no end within"):
        validation.find_issues(raw.root)


def test_sidecars_with_a_byte_order_mark_do_not_stop_a_run(raw):
    path = raw.file("sub-01_echo-1_part-mag_MEGRE.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    validate_dataset(raw.root)
