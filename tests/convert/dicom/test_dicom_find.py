"""Finding DICOM by content: every file is accounted for, whatever it is."""

from __future__ import annotations

import gzip
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import VENDORS, DicomSeries, echoes, gradient_echo, t1w, truncate, write_all, write_series
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from qsmxt_app.convert.dicom import find
from qsmxt_app.convert.dicom.find import Found, LeftOut, find_dicom, read_file

SHAPE = (8, 6, 3)


def t1w_series(vendor: str = "siemens", **fields: object) -> DicomSeries:
    return t1w(vendor, np.arange(np.prod(SHAPE)).reshape(SHAPE), **fields)


def reasons(found: Found) -> dict[str, str]:
    return {one.path.name: one.reason for one in found.left_out}


def test_any_name_extension_and_depth_is_found_and_others_are_named(tmp_path: Path) -> None:
    names = iter(["IM0001", "scan.pdf", "a.nii"])
    paths = write_series(tmp_path / "deep" / "er", t1w_series(), name=lambda _: next(names))
    write_series(tmp_path, t1w_series(number=9), name=lambda i: f"z{i}", compress=True)
    (tmp_path / "paper.dcm").write_bytes(b"%PDF-1.4 not an image")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress(b"\x5c\x01\0\0" + bytes(600)))
    (tmp_path / "half.gz").write_bytes(gzip.compress(os.urandom(60000))[:40000])
    found = find_dicom(tmp_path)
    assert {Path(h.path).name for h in found.headers} == {
        "IM0001",
        "scan.pdf",
        "a.nii",
        "z0.gz",
        "z1.gz",
        "z2.gz",
    }
    assert reasons(found) == {
        "paper.dcm": "not DICOM",
        "empty.dcm": "empty",
        "image.nii.gz": "not DICOM",
        "half.gz": "not DICOM",
    }
    assert len(paths) == 3


def test_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write_series(tmp_path / "more", t1w_series())
    for kind in ("zip", "tar", "gztar", "xztar"):
        shutil.make_archive(str(tmp_path / kind), kind, tmp_path / "more")
    (tmp_path / "scans.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(300))
    found = find_dicom(tmp_path)
    assert len(found.headers) == 3
    assert {one.path.name for one in found.left_out if one.unread == "archive"} == {
        "zip.zip", "tar.tar", "gztar.tar.gz", "xztar.tar.xz", "scans.7z",
    }  # fmt: skip
    assert reasons(found)["gztar.tar.gz"] == "an archive (tar), which is not opened: unpack it"


def test_order_does_not_depend_on_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(tmp_path, [t1w_series(number=n) for n in range(16)])
    monkeypatch.setattr(find, "FEW", 40)
    monkeypatch.setattr(find, "BATCH", 4)
    one, many = find_dicom(tmp_path, n_procs=1), find_dicom(tmp_path, n_procs=2)
    assert one == many
    assert [h.path for h in one.headers] == sorted(h.path for h in one.headers)
    assert len(one.headers) == 48


def test_files_without_a_preamble_or_a_meta_header_are_read(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, t1w_series(), skip=(1, 2))
    dataset = pydicom.dcmread(path)
    whole = path.read_bytes()
    (tmp_path / "no_preamble").write_bytes(whole[132:])
    del dataset.file_meta, dataset.preamble
    for name, implicit in (("explicit", False), ("implicit", True)):
        pydicom.dcmwrite(tmp_path / name, dataset, implicit_vr=implicit, little_endian=True)
        assert not (tmp_path / name).read_bytes().startswith(bytes(128))
    headers = {Path(h.path).name: h for h in find_dicom(tmp_path).headers}
    assert set(headers) == {path.name, "no_preamble", "explicit", "implicit"}
    assert len({h[1:] for h in headers.values()}) == 1


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=str
)
def test_every_transfer_syntax_reads_the_same(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    (path,) = write_series(tmp_path / "a", t1w_series("ge"), skip=(1, 2))
    dataset = pydicom.dcmread(path)
    expected = read_file(str(path))
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").byteswap().tobytes()
    other = tmp_path / "other"
    little = syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(other, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little)
    found = read_file(str(other))
    assert not isinstance(found, LeftOut)
    assert found[1:] == expected[1:]


@pytest.mark.parametrize("vendor", VENDORS)
def test_implicit_headers_read_as_explicit_ones(tmp_path: Path, vendor: str) -> None:
    """Private elements have no representation there, but the same bytes."""
    magnitude, phase = echoes(SHAPE)
    extra = {"ImageComments": "x" * 300, "TemporalPositionIdentifier": None, "AcquisitionTime": None}
    paths = write_all(tmp_path, gradient_echo(vendor, magnitude, phase, (0.004, 0.008), extra=extra))
    before = find_dicom(tmp_path)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    assert find_dicom(tmp_path) == before


def test_a_value_that_breaks_the_standard_costs_that_value(tmp_path: Path) -> None:
    extra = {"InstanceNumber": None, "EchoTime": None, "FlipAngle": None}
    (path,) = write_series(tmp_path, t1w_series(extra=extra), skip=(1, 2))
    before = find_dicom(tmp_path).headers[0]
    dataset = pydicom.dcmread(path)
    for tag, vr, value in ((0x00180081, "DS", "two"), (0x00181314, "DS", "nan"), (0x00200013, "IS", "3.7")):
        dataset.add_new(tag, "LO", value)
        dataset[tag].VR = "LO"
        path.write_bytes(_with_vr(dataset, tag, vr))
        dataset = pydicom.dcmread(path)
    (header,) = find_dicom(tmp_path).headers
    assert header == before._replace(slices=(before.slices[0]._replace(instance=3),))


def _with_vr(dataset: pydicom.Dataset, tag: int, vr: str) -> bytes:
    """Bytes of a file in which an element claims a representation that its value does not have."""
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    group, element = (tag >> 16).to_bytes(2, "little"), (tag & 0xFFFF).to_bytes(2, "little")
    return stream.getvalue().replace(group + element + b"LO", group + element + vr.encode())


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, t1w_series(), skip=(1, 2))
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe line\nbreak"))
    path.rename(odd)
    (header,) = find_dicom(tmp_path).headers
    assert header.path == str(odd)


def test_nested_sequences_of_undefined_length_are_stepped_over(tmp_path: Path) -> None:
    """An element of the same tag inside a sequence is not that of the image."""
    (path,) = write_series(tmp_path, t1w_series(), skip=(1, 2))
    dataset = pydicom.dcmread(path)
    inner = pydicom.Dataset()
    inner.EchoTime, inner.SeriesInstanceUID = "999", "1.2.3"
    inner.is_undefined_length_sequence_item = True
    outer = pydicom.Dataset()
    outer.add_new(0x00189114, "SQ", [inner])
    outer[0x00189114].is_undefined_length = True
    outer.is_undefined_length_sequence_item = True
    dataset.add_new(0x00081140, "SQ", [outer, outer])
    dataset[0x00081140].is_undefined_length = True
    dataset.add_new(0x00180010, "LO", "x" * 40)
    dataset.save_as(path)
    (header,) = find_dicom(tmp_path).headers
    assert header.scan.series_uid == str(dataset.SeriesInstanceUID)
    assert header.slices[0].kind.echo_time == pytest.approx(0.00298)


def test_a_header_longer_than_the_first_bytes_read(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, t1w_series("ge"), skip=(1, 2))
    before = find_dicom(tmp_path).headers
    dataset = pydicom.dcmread(path)
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", bytes(100001))
    dataset.add_new(0x00081032, "SQ", [pydicom.Dataset()])
    dataset.save_as(path)
    assert find_dicom(tmp_path).headers == before


def test_cut_files_are_left_out_with_a_reason_at_any_length(tmp_path: Path) -> None:
    (whole,) = write_series(tmp_path / "whole", t1w_series("philips"), skip=(1, 2))
    content = whole.read_bytes()
    cut = tmp_path / "cut"
    seen = set()
    for length in [*range(0, 1400, 7), *range(1400, len(content), 61), len(content) - 1]:
        cut.write_bytes(content[:length])
        found = read_file(str(cut))
        assert isinstance(found, LeftOut), length
        seen.add(found.reason.split(":")[0])
    assert "cut short" in seen
    truncate(whole)
    (one,) = find_dicom(tmp_path / "whole").left_out
    assert one.reason == "cut short: its pixel data end early"


def test_a_cut_gzipped_file_is_left_out(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, t1w_series(), skip=(1, 2), compress=True)
    content = path.read_bytes()
    for length in (40, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:length])
        found = find_dicom(tmp_path)
        assert not found.headers and len(found.left_out) == 1


@pytest.mark.parametrize("vendor", ["philips-enhanced", "ge"])
def test_damaged_files_never_stop_the_scan(tmp_path: Path, vendor: str) -> None:
    path = write_series(tmp_path / "whole", t1w_series(vendor))[0]
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    folder = tmp_path / "damaged"
    folder.mkdir()
    for index in range(200):
        broken = bytearray(content)
        for at in rng.integers(128, len(content) - 400, 6):
            broken[at] = rng.integers(256)
        (folder / f"{index}").write_bytes(broken)
    found = find_dicom(folder)
    assert len(found.headers) + len(found.left_out) == 200


def test_a_damaged_character_set_costs_letters_only(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, t1w_series())
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO\0\0R 192"))
    (header, *_) = find_dicom(tmp_path).headers
    assert header.scan.patient_id == "P001"


def test_links_in_a_circle_and_unreadable_places_have_a_reason(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a", t1w_series())
    (tmp_path / "in" / "a" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "in" / "itself").symlink_to(tmp_path / "in" / "itself")
    os.mkfifo(tmp_path / "in" / "pipe")
    found = find_dicom(tmp_path / "in")
    assert [Path(h.path).parent.name for h in found.headers] == ["a"] * 3
    assert set(reasons(found)) == {"loop", "again", "nowhere", "itself", "pipe"}
    assert "already" in reasons(found)["again"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_folders_and_files_without_permission_have_a_reason(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", t1w_series())
    paths[0].chmod(0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    found = find_dicom(tmp_path)
    closed.chmod(0o700)
    assert len(found.headers) == 2
    assert set(reasons(found)) == {"closed", paths[0].name}


def test_other_modalities_and_indices_are_named(tmp_path: Path) -> None:
    write_series(tmp_path, t1w_series(extra={"Modality": "CT"}), skip=(1, 2))
    report = pydicom.Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3"
    report.Modality, report.SeriesInstanceUID = "SR", "1.2.4"
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    report.save_as(tmp_path / "report", enforce_file_format=True)
    index = pydicom.Dataset()
    index.FileSetID = "SET"
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.5"
    pydicom.dcmwrite(tmp_path / "DICOMDIR", index, enforce_file_format=True)
    found = find_dicom(tmp_path)
    assert not found.headers
    told = reasons(found)
    assert told["report"] == "DICOM without an image"
    assert told["DICOMDIR"].startswith("a DICOMDIR")
    assert told["0003_0001.dcm"] == "DICOM of another kind: modality CT"


def test_folders_that_are_to_be_left_alone(tmp_path: Path) -> None:
    write_series(tmp_path / "data", t1w_series())
    write_series(tmp_path / "out", t1w_series())
    assert len(find_dicom(tmp_path, leave_alone=[tmp_path / "out", tmp_path / "none"]).headers) == 3
