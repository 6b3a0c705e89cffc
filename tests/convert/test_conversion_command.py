"""Folders of scanner files through the real command."""

import json
import random
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from dicom_writer import echoes, gradient_echo, localiser, phase_difference, t1w, write_all

from qsmxt_app.bids.validation import find_issues
from qsmxt_app.cli import main

TIMES = (0.004, 0.008)


def convert(source, out, *options):
    return main([str(source), str(out), "participant", "--convert-only", *options])


def raw_images(out):
    raw = out / "sourcedata" / "raw"
    return {path.relative_to(raw).as_posix(): path for path in sorted(raw.rglob("*.nii.gz"))}


def state(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def scan(vendor="siemens", seed=1, **fields):
    magnitude, phase = echoes(shape=(12, 10, 6), echo_times=TIMES, seed=seed)
    return gradient_echo(vendor, magnitude, phase, TIMES, **fields)


@pytest.fixture
def dicom(tmp_path):
    """Two people, one of them with a T1w image and a localiser."""
    rng = np.random.default_rng(8)
    volume = rng.uniform(0, 900, (10, 12, 14))
    anna = [*scan(patient_id="A1", patient_name="Schmidt^Anna", number=4),
            t1w("siemens", volume), localiser("siemens", volume[:, :, :3])]  # fmt: skip
    anna = [replace(one, patient_id="A1", patient_name="Schmidt^Anna") for one in anna]
    write_all(tmp_path / "disk" / "1", anna)
    write_all(tmp_path / "disk" / "2", scan("philips", seed=2, patient_id="B2", patient_name="Meier^Bert"))
    return tmp_path / "disk"


def _only_magnitudes(source):
    (magnitude, *_) = [one for one in scan() if one.volumes[0].component == "magnitude"]
    return write_all(source, [magnitude])


def _leave_archive(source):
    (source / "phase.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(300))
    return "1 archive: phase.7z"


def _leave_nifti(source):
    (source / "e1_ph.nii.gz").write_bytes(b"")
    return "1 NIfTI file: e1_ph.nii.gz"


def _leave_damaged(source):
    path = next(path for path in source.rglob("*") if path.is_file())
    (source / "cut").write_bytes(path.read_bytes()[:-20])
    return "1 damaged file: cut"


@pytest.mark.parametrize("leave", [_leave_archive, _leave_nifti, _leave_damaged])
def test_what_was_not_read_is_named_before_a_new_scan_is_advised(tmp_path, capsys, leave):
    source = tmp_path / "disk"
    _only_magnitudes(source)
    assert convert(source, tmp_path / "a") == 0
    assert "let the scanner save it too" in capsys.readouterr().err
    unread = leave(source)
    assert convert(source, tmp_path / "b") == 0
    said = capsys.readouterr().err
    assert "let the scanner save it too" not in said
    assert f"look into what was not read first ({unread})" in said
    assert f"not read: {unread}. " in said
    assert convert(source, tmp_path / "c", "--dry-run") == 0
    assert f"not read: {unread}. " in capsys.readouterr().out


def test_archives_beside_nifti_files_are_named(tmp_path, capsys):
    source = tmp_path / "disk"
    source.mkdir()
    _leave_archive(source)
    voxels = np.random.default_rng(1).uniform(1, 9, (6, 5, 4)).astype(np.float32)
    for name in ("sub-1_echo-1_part-mag_MEGRE.nii.gz", "sub-1_echo-2_part-mag_MEGRE.nii.gz"):
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), source / name)
        about = {"EchoTime": 0.004 * int(name[11]), "MagneticFieldStrength": 3}
        (source / name.replace(".nii.gz", ".json")).write_text(json.dumps(about))
    assert convert(source, tmp_path / "out") == 0
    assert "not read: 1 archive: phase.7z. Unpack archives" in capsys.readouterr().err


def test_dicom_becomes_a_valid_dataset_and_stays_it(dicom, tmp_path, capsys):
    source = state(dicom)
    out = tmp_path / "out"
    assert convert(dicom, out) == 0
    raw = out / "sourcedata" / "raw"
    assert find_issues(raw, config=None) == []
    images = raw_images(out)
    assert sum("A1" in name and "MEGRE" in name for name in images) == 4
    assert sum("B2" in name and "MEGRE" in name for name in images) == 4
    assert sum("T1w" in name for name in images) == 1 and len(images) == 9
    for path in raw.rglob("*"):
        if path.is_file() and not path.name.endswith(".gz"):
            assert b"schmidt" not in path.read_bytes().lower(), path
    before = state(raw)
    assert convert(dicom, out) == 0
    (out / "sourcedata" / ".finished.json").unlink()  # all is looked at again
    assert convert(dicom, out) == 0
    assert state(raw) == before
    assert "0 of them new" in capsys.readouterr().err
    write_all(dicom / "3", scan(seed=3, patient_id="C3", patient_name="Kunz^Carl"))
    assert convert(dicom, out) == 0
    after = state(raw)
    assert {path: after[path] for path in before if path.name != "participants.tsv"} == {
        path: content for path, content in before.items() if path.name != "participants.tsv"
    }
    assert sum("C3" in name for name in raw_images(out)) == 4
    assert {path: content for path, content in state(dicom).items() if path in source} == source


def test_no_map_from_a_phase_difference_and_the_reason(tmp_path, capsys):
    magnitude, phase = echoes(shape=(12, 10, 6), echo_times=TIMES, seed=4)
    write_all(tmp_path / "in", phase_difference("siemens", magnitude, phase, TIMES))
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "participant"]) == 65
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "phase difference" in last and str(tmp_path / "in") in last


def test_the_source_cannot_be_the_output(dicom, tmp_path, capsys):
    before = state(dicom)
    assert convert(dicom, dicom / "out") == 73
    assert convert(dicom, tmp_path / "out", "--raw-dir", str(dicom / "raw")) == 73
    assert convert(dicom, tmp_path / "out", "--work-dir", str(dicom)) == 73
    assert "only read" in capsys.readouterr().err
    assert state(dicom) == before


def test_a_dry_run_writes_nothing(dicom, tmp_path, capsys):
    assert main([str(dicom), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    assert "Would convert" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_why_a_run_would_convert_nothing_or_make_no_map(tmp_path, capsys):
    magnitude, phase = echoes(shape=(12, 10, 6), echo_times=TIMES, seed=4)
    write_all(tmp_path / "magnitude", gradient_echo("siemens", magnitude, phase, TIMES)[:1])
    command = [str(tmp_path / "out"), "participant", "--dry-run"]
    assert main([str(tmp_path / "magnitude"), *command]) == 0
    assert "no susceptibility map: gradient-echo magnitudes were found" in capsys.readouterr().out
    milliseconds = gradient_echo("siemens", magnitude, phase, [1000 * time for time in TIMES])
    write_all(tmp_path / "wrong", milliseconds)
    assert main([str(tmp_path / "wrong"), *command]) == 65
    told = capsys.readouterr()
    assert "microseconds?" in told.out
    assert "nothing would be converted" in told.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("components", [("magnitude", "phase"), ("magnitude", "real", "imaginary")])
def test_the_dataset_tells_that_the_sign_of_ge_was_changed(tmp_path, components):
    magnitude, phase = echoes(shape=(12, 10, 6), echo_times=TIMES, seed=4)
    write_all(tmp_path / "in", gradient_echo("ge", magnitude, phase, TIMES, components=components))
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    sidecars = sorted((tmp_path / "out" / "sourcedata").rglob("*part-phase*.json"))
    for path in sidecars:
        assert "GE" in json.loads(path.read_text())["PhaseScaling"]


def test_headers_in_other_units_do_not_reach_the_dataset(tmp_path, capsys):
    magnitude, phase = echoes(shape=(12, 10, 6), echo_times=TIMES, seed=4)
    extra = {"RepetitionTime": 0.035, "MagneticFieldStrength": 30000}
    write_all(tmp_path / "in", gradient_echo("siemens", magnitude, phase, TIMES, extra=extra))
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    assert "RepetitionTime of 0.035 ms is implausible" in capsys.readouterr().err
    sidecars = [
        json.loads(path.read_text()) for path in (tmp_path / "out" / "sourcedata").rglob("*MEGRE.json")
    ]
    assert {sidecar["MagneticFieldStrength"] for sidecar in sidecars} == {3.0}
    assert not any("RepetitionTime" in sidecar for sidecar in sidecars)


def test_where_the_dataset_goes_can_be_chosen(dicom, tmp_path):
    assert convert(dicom, tmp_path / "out", "--raw-dir", str(tmp_path / "bids")) == 0
    assert len(list((tmp_path / "bids").rglob("*MEGRE.nii.gz"))) == 8
    assert not (tmp_path / "out" / "sourcedata" / "raw").exists()
    assert convert(dicom, tmp_path / "out", "--raw-dir", str(tmp_path / "out")) == 73
    assert convert(tmp_path / "bids", tmp_path / "other") == 64


def test_a_folder_that_cannot_be_written_is_73(dicom, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert convert(dicom, tmp_path / "out") == 73
    assert capsys.readouterr().err.count("\n") == 1


def test_a_table_to_fill_in_is_65_and_one_line(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), tmp_path / "in" / "t1.nii")
    assert convert(tmp_path / "in", tmp_path / "out") == 65
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "nifti_conversion.tsv" in error


@pytest.fixture(scope="module")
def philips(test_data, tmp_path_factory):
    """The classic T1w and gradient echo in one flat folder, shuffled and under other names."""
    folder = tmp_path_factory.mktemp("philips") / "from the scanner"
    folder.mkdir()
    scans = test_data / "philips-3t"
    files = [*sorted((scans / "classic_1301_T1w").iterdir()), *sorted((scans / "classic_2001_GRE").iterdir())]
    random.Random(3).shuffle(files)
    for index, path in enumerate(files):
        shutil.copyfile(path, folder / f"scan{index}{('', '.jpg', '.dcm.gz')[index % 3]}")
    return folder


def test_philips_classic_and_enhanced_give_the_same_voxels(philips, test_data, tmp_path):
    assert convert(philips, tmp_path / "classic") == 0
    assert find_issues(tmp_path / "classic" / "sourcedata" / "raw", config=None) == []
    enhanced = tmp_path / "in"
    shutil.copytree(test_data / "philips-3t" / "enhanced_2001_GRE", enhanced)
    assert convert(enhanced, tmp_path / "enhanced") == 0
    classic, other = raw_images(tmp_path / "classic"), raw_images(tmp_path / "enhanced")
    assert sorted(name.split("_", 2)[-1] for name in classic) == [
        "T1w.nii.gz",
        *(f"echo-{echo}_part-{part}_MEGRE.nii.gz" for echo in (1, 2) for part in ("mag", "phase")),
    ]
    assert other.keys() == {name for name in classic if "MEGRE" in name}
    for name, path in other.items():
        one, two = nib.load(path), nib.load(classic[name])
        np.testing.assert_array_equal(one.get_fdata(), two.get_fdata())
        np.testing.assert_allclose(one.affine, two.affine, atol=1e-5)
        reference = test_data / "philips-3t" / "nifti_GRE"
        echo, end = (1 if "echo-1" in name else 2), ("_ph" if "phase" in name else "")
        expected = nib.load(reference / f"2001_fcMRI_Field_Mapping_e{echo}{end}.nii.gz")
        axes = nib.as_closest_canonical(one).get_fdata(), nib.as_closest_canonical(expected).get_fdata()
        np.testing.assert_allclose(*axes, rtol=1e-3, atol=2e-3)
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["EchoTime"] == (0.0023, 0.0046)[echo - 1]
        assert sidecar.get("Units") == ("rad" if end else None)


def test_siemens_enhanced_t1w_magnitude_and_phase_difference(test_data, tmp_path, capsys):
    assert main([str(test_data / "siemens-xa30"), str(tmp_path / "out"), "participant"]) == 65
    names = [name.split("_", 2)[-1].removesuffix(".nii.gz") for name in raw_images(tmp_path / "out")]
    assert sorted(names) == ["T1w", "magnitude1", "magnitude2", "phasediff", "rec-NORM_T1w"]
    assert find_issues(tmp_path / "out" / "sourcedata" / "raw", config=None) == []
    assert "phase difference" in capsys.readouterr().err.strip().splitlines()[-1]
