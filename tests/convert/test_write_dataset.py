import gzip
import json
import os
from dataclasses import replace
from datetime import datetime
from zlib import crc32

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.bids import atomic
from qsmxt_app.bids.validation import find_issues
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dataset import write_dataset
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed

SHAPE = (6, 5, 4)
PERSONAL = {
    "PatientName": "Mustermann^Erika",
    "PatientBirthDate": "19640812",
    "PatientID": "MRN4711",
    "PatientAddress": "Heidestrasse 17",
    "SeriesDescription": "gre mustermann 3mm",
    "ProtocolName": "gre_MRN4711",
    "InstitutionAddress": "Heidestrasse 18",
    "AcquisitionDateTime": "2026-01-02T10:00:00",
    "SeriesInstanceUID": "1.2.3",
    "Diagnosis": "unknown",
    "StudyDescription": ["for Dr. Erika"],
    "Nested": {"PatientName": "x"},
}


class Scanner:
    """Makes images in a work folder."""

    def __init__(self, folder):
        self.folder = folder

    def image(self, group="1", suffix="T1w", *, seed=None, **about):
        path = self.folder / f"{crc32(repr((group, suffix, sorted(about.items()), seed)).encode())}.nii"
        rng = np.random.default_rng(seed if seed is not None else crc32(path.name.encode()))
        image = nib.Nifti1Image(rng.integers(0, 4000, SHAPE, np.int16), np.diag([2.0, 2, 3, 1]))
        image.header["descrip"], image.header["aux_file"], image.header["db_name"] = (
            b"Erika",
            b"Mustermann",
            b"x",
        )
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Erika Mustermann"))
        image.header.set_slope_inter(0.5, -3)
        self.folder.mkdir(exist_ok=True)
        nib.save(image, path)
        about = {"subject": "01", "session": None, "origin": f"series {group}", "sidecar": {}} | about
        sidecar = {"MagneticFieldStrength": 3.0, "EchoTime": 0.004 * (about.get("echo") or 1)} | about.pop(
            "sidecar"
        )
        return ConvertedImage(
            path=path, sidecar=sidecar, suffix=suffix, group=group, acquired=datetime(2026, 1, 2, 10), **about
        )

    def megre(self, group="1", **about):
        return [
            self.image(group, "MEGRE", echo=echo, part=part, **about)
            for echo in (1, 2)
            for part in ("mag", "phase")
        ]


@pytest.fixture
def scanner(tmp_path):
    return Scanner(tmp_path / "work")


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def state(folder):
    """Content and time of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(path):
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def several(scanner):
    return [
        *scanner.megre(session="1"),
        scanner.image("t", "T1w", session="1"),
        scanner.image("u", "UNIT1", session="1"),
        *scanner.megre("f", session="2", subject="Zo2"),
        scanner.image("s", "T2starw", part="mag", session="2"),
        scanner.image("s", "T2starw", part="phase", session="2", sidecar={"Units": "rad"}),
        scanner.image("m", "magnitude1", session="1"),
        scanner.image("m", "magnitude2", session="1"),
        scanner.image("m", "phasediff", session="1", sidecar={"EchoTime1": 0.005, "EchoTime2": 0.007}),
        scanner.image("h", "magnitude", session="2"),
        scanner.image("h", "fieldmap", session="2"),
    ]


def test_the_dataset_is_valid_and_holds_the_voxels(scanner, raw):
    images = several(scanner)
    written = write_dataset(images, raw)
    assert find_issues(raw, config=None) == []
    assert not written.refused and len(written.files) == len(images)
    for image, target in zip(images, written.targets, strict=True):
        before, after = nib.load(image.path), nib.load(target)
        np.testing.assert_array_equal(np.asanyarray(before.dataobj), np.asanyarray(after.dataobj))
        np.testing.assert_array_equal(before.affine, after.affine)
        sidecar = json.loads(target.with_name(target.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["EchoTime"] == image.sidecar["EchoTime"]
        assert sidecar["MagneticFieldStrength"] == 3.0
        expected = {"phase": image.sidecar.get("Units", "arbitrary"), "mag": None, None: None}[image.part]
        assert sidecar.get("Units") == ("Hz" if image.suffix == "fieldmap" else expected)
    people = [row["participant_id"] for row in rows(raw / "participants.tsv")]
    assert sorted(people) == ["sub-01", "sub-Zo2"]
    scans = rows(raw / "sub-01" / "ses-1" / "sub-01_ses-1_scans.tsv")
    assert len(scans) == 9 and {row["acq_time"] for row in scans} == {"2026-01-02T10:00:00"}


def test_nothing_personal_is_written(scanner, raw):
    write_dataset([scanner.image(sidecar=PERSONAL | {"FlipAngle": 12, "ImageType": ["ORIGINAL"]})], raw)
    sidecar = json.loads((raw / "sub-01" / "anat" / "sub-01_T1w.json").read_text())
    assert sidecar == {
        "MagneticFieldStrength": 3.0, "EchoTime": 0.004, "FlipAngle": 12, "ImageType": ["ORIGINAL"],
    }  # fmt: skip
    for path in raw.rglob("*"):
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            for word in (b"erika", b"mustermann", b"4711", b"1964", b"heidestr"):
                assert word not in content.lower(), path


def test_a_second_run_changes_nothing(scanner, raw):
    write_dataset(several(scanner), raw)
    before = state(raw)
    written = write_dataset(several(scanner), raw)
    assert state(raw) == before
    assert not written.files and not written.refused and len(written.unchanged) == 17


def test_new_scans_are_added_and_nothing_else_changes(scanner, raw):
    write_dataset(scanner.megre("a", acquisition="hi"), raw)
    images_before = {name: content for name, content in state(raw).items() if "anat" in name}
    more = [*scanner.megre("a", acquisition="hi"), *scanner.megre("b", acquisition="hi"),
            *scanner.megre("c", acquisition="lo"), *scanner.megre("d", subject="02")]  # fmt: skip
    assert len(write_dataset(more, raw).files) == 12
    after = state(raw)
    assert images_before.items() <= after.items()
    names = {name.split("_echo")[0] for name in after if name.endswith(".nii.gz")}
    assert {name.rpartition("/")[2] for name in names} == {
        "sub-01",
        "sub-01_run-2",
        "sub-01_acq-lo",
        "sub-02",
    }
    assert find_issues(raw, config=None) == []
    before = state(raw)
    write_dataset(more, raw)
    assert state(raw) == before


def test_other_content_under_the_same_name_is_refused(scanner, raw):
    write_dataset([scanner.image("a", seed=1)], raw)
    before = state(raw)
    written = write_dataset([scanner.image("a", seed=2)], raw)
    assert state(raw) == before
    assert (
        len(written.refused) == 1
        and "sub-01_T1w.nii.gz: exists with content that differs" in written.refused[0]
    )
    written = write_dataset([scanner.image("a", seed=1, sidecar={"EchoTime": 0.009})], raw)
    assert state(raw) == before
    assert "EchoTime 0.004, now 0.009" in written.refused[0] and len(written.refused) == 1


def test_an_echo_that_arrives_late_never_leaves_one_echo_twice(scanner, raw):
    three = [
        scanner.image("1", "MEGRE", echo=echo, part=part, sidecar={"EchoTime": 0.004 * echo})
        for echo in (1, 2, 3)
        for part in ("mag", "phase")
    ]
    first = [replace(image, echo=2 if image.echo == 3 else image.echo) for image in three if image.echo != 2]
    write_dataset(first, raw)
    before = state(raw)
    late = write_dataset(three, raw)
    assert state(raw) == before
    (line,) = late.refused
    assert "arrived after it was converted" in line and "Remove its 4 images" in line


def test_what_people_add_to_a_sidecar_stays(scanner, raw):
    write_dataset([scanner.image("a")], raw)
    sidecar = raw / "sub-01" / "anat" / "sub-01_T1w.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Comment": "moved a little"}))
    assert not write_dataset([scanner.image("a")], raw).refused
    assert json.loads(sidecar.read_text())["Comment"] == "moved a little"


def test_two_images_with_one_name_are_both_refused(scanner, raw):
    both = [
        scanner.image("a", origin="one"),
        scanner.image("a", seed=5, origin="two"),
        scanner.image("b", subject="02"),
    ]
    written = write_dataset(both, raw)
    assert written.refused == ("one, two: would all become sub-01_T1w.nii.gz; none was written.",)
    assert [path.name for path in written.files] == ["sub-02_T1w.nii.gz"]
    assert written.targets[:2] == (None, None)


def test_tables_that_people_completed_stay_theirs(scanner, raw):
    write_dataset([scanner.image("a")], raw)
    (raw / "participants.tsv").write_text("participant_id\tage\nsub-01\t34\n")
    scans = raw / "sub-01" / "sub-01_scans.tsv"
    source = rows(scans)[0]["source"]
    shifted = "filename\tquality\tacq_time\nanat/sub-01_T1w.nii.gz\tgood\t1900-01-01T09:00:00\n"
    scans.write_text(shifted)
    write_dataset([scanner.image("a"), scanner.image("b", subject="02")], raw)
    assert (raw / "participants.tsv").read_text() == "participant_id\tage\nsub-01\t34\nsub-02\tn/a\n"
    row = rows(scans)[0]
    assert (row["quality"], row["acq_time"], row["source"]) == ("good", "1900-01-01T09:00:00", source)


def test_an_image_that_a_person_removed_leaves_the_table_too(scanner, raw):
    write_dataset([scanner.image("a"), *scanner.megre("b")], raw)
    (raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz").unlink()
    (raw / "sub-01" / "anat" / "sub-01_T1w.json").unlink()
    write_dataset(scanner.megre("b"), raw)
    assert find_issues(raw, config=None) == []


@pytest.mark.parametrize("survivors", range(0, 12, 3))
def test_an_interrupted_run_is_completed_by_the_next(scanner, raw, monkeypatch, tmp_path, survivors):
    images = [*scanner.megre("a"), *scanner.megre("b")]
    write_dataset(images, tmp_path / "whole")
    count = iter(range(100))

    def stop(*arguments):
        if next(count) >= survivors + 6:
            raise KeyboardInterrupt
        return replace(*arguments)

    replace = os.replace
    monkeypatch.setattr(atomic.Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(images, raw)
    monkeypatch.undo()
    assert not list(raw.rglob(".*.tmp"))
    # what arrived meanwhile must not take the names of what was interrupted
    write_dataset([*images, *scanner.megre("c", subject="02")], raw)
    whole = {name: content for name, (content, _) in state(tmp_path / "whole").items() if "sub-01" in name}
    assert {name: content for name, (content, _) in state(raw).items() if "sub-01" in name} == whole


def test_what_a_killed_run_left_is_removed(scanner, raw):
    write_dataset(scanner.megre("a"), raw)
    anat = raw / "sub-01" / "anat"
    left, other = anat / ".sub-01_T1w.nii.gz.4711-0123abcd.tmp", anat / ".notes.tmp"
    for path in (left, other):
        path.write_text("")
    write_dataset(scanner.megre("a"), raw)
    assert not left.exists() and other.exists()


def test_an_acquisition_is_known_again_by_its_voxels(scanner, raw):
    images = scanner.megre("a")
    write_dataset(images, raw)
    (raw / "sub-01" / "sub-01_scans.tsv").unlink()
    before = {name: content for name, content in state(raw).items() if "anat" in name}
    again = [ConvertedImage(**{**vars(image), "group": "called otherwise"}) for image in images]
    assert not write_dataset(again, raw).files
    assert {name: content for name, content in state(raw).items() if "anat" in name} == before


def test_what_has_another_name_by_now_is_told_and_nothing_is_renamed(scanner, raw):
    images = scanner.megre("a")
    write_dataset(images, raw)
    before = {name: content for name, content in state(raw).items() if "anat" in name}
    written = write_dataset([ConvertedImage(**{**vars(image), "run": 3}) for image in images], raw)
    assert not written.files and len(written.notes) == 1 and "the table says run 3" in written.notes[0]
    written = write_dataset([ConvertedImage(**{**vars(image), "subject": "02"}) for image in images], raw)
    assert len(written.files) == 4 and len(written.notes) == 1
    assert (
        "sub-01" in written.notes[0]
        and "and 3 more" in written.notes[0]
        and "is now sub-02" in written.notes[0]
    )
    assert before.items() <= state(raw).items()


def test_an_image_that_was_not_fetched_is_refused(scanner, raw):
    write_dataset([scanner.image("a"), scanner.image("b", subject="02")], raw)
    path = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    path.unlink()
    path.symlink_to("../.git/annex/objects/x")
    written = write_dataset([scanner.image("a"), scanner.image("b", subject="02")], raw)
    assert len(written.refused) == 1 and "cannot be read" in written.refused[0]
    assert [target.name for target in written.unchanged] == ["sub-02_T1w.nii.gz"] and path.is_symlink()


def test_other_folders_are_not_touched(scanner, raw, tmp_path):
    raw.mkdir()
    (raw / "thesis.doc").write_text("")
    with pytest.raises(CannotCreateOutput, match="holds files"):
        write_dataset([scanner.image()], raw)
    derivative = tmp_path / "derivative"
    derivative.mkdir()
    (derivative / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    with pytest.raises(CannotCreateOutput, match="derivative"):
        write_dataset([scanner.image()], derivative)
    assert [path.name for path in raw.iterdir()] == ["thesis.doc"]


def test_a_full_disk_ends_the_conversion_and_leaves_nothing_half(scanner, raw, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    images = scanner.megre()
    write_dataset(images[:1], raw)
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(InputOutputFailed, match="full"):
        write_dataset(images, raw)
    assert len(list(raw.rglob("*.nii.gz"))) == 1 and not list(raw.rglob(".*tmp"))


def test_a_damaged_image_is_refused_and_the_others_are_written(scanner, raw):
    good, bad = scanner.image("a"), scanner.image("b", subject="02")
    bad.path.write_bytes(bad.path.read_bytes()[:-20])
    written = write_dataset([good, bad], raw)
    assert [path.name for path in written.files] == ["sub-01_T1w.nii.gz"]
    assert len(written.refused) == 1 and "truncated" in written.refused[0]
    assert not list(raw.rglob("sub-02*.nii.gz"))
