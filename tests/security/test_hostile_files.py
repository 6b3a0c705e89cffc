"""Headers, sidecars and tables of any content are used or refused with a line, and nothing else happens."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hostile import json_values, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.headers import read_header
from qsmxt_app.convert.dicom.find import LeftOut, read_file
from qsmxt_app.convert.dicom.subject_labels import SavedLabels, label_subjects
from qsmxt_app.convert.table import read_table, write_table
from qsmxt_app.errors import QsmxtError
from qsmxt_app.group.csv_text import csv_text, read_tsv

SHAPE = (4, 4, 4)
KEYS = (
    "EchoTime",
    "MagneticFieldStrength",
    "Units",
    "Manufacturer",
    "PhaseEncodingDirection",
    "ImageType",
    "EchoNumber",
    "RepetitionTime",
    "BodyPartExamined",
    "ScanningSequence",
    "SequenceName",
    "IntendedFor",
    "SkullStripped",
)


def image_bytes() -> bytes:
    return nib.Nifti1Image(np.ones(SHAPE, np.float32), np.diag([2.0, 2, 2, 1])).to_bytes()


@settings(max_examples=250, deadline=None)
@example(changes=[(111, 0)], compressed=False)  # voxels that start within the header
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), max_size=6), st.booleans())
def test_a_header_of_any_bytes_is_read_or_refused(changes: list[tuple[int, int]], compressed: bool) -> None:
    content = bytearray(image_bytes())
    for position, value in changes:
        content[position] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.nii.gz" if compressed else "image.nii")
        path.write_bytes(gzip.compress(bytes(content)) if compressed else bytes(content))
        try:
            header = read_header(path)
            if np.prod(header.shape) <= 4**4:
                read_image(path)
        except QsmxtError as error:
            assert str(path) in str(error)
        except MemoryError:
            pytest.fail("an image of 256 bytes must not be taken for one of gigabytes")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.one_of(st.sampled_from(KEYS), texts), json_values, min_size=1, max_size=4))
def test_a_sidecar_of_any_content_is_used_or_refused(content: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anat = Path(folder, "sub-01", "anat")
        anat.mkdir(parents=True)
        for part in ("mag", "phase"):
            stem = anat / f"sub-01_part-{part}_T2starw"
            stem.with_name(f"{stem.name}.nii").write_bytes(image_bytes())
            common = {"EchoTime": 0.02, "MagneticFieldStrength": 3.0}
            stem.with_name(f"{stem.name}.json").write_text(json.dumps(common | content))
        found = find_acquisitions(open_dataset(Path(folder)))
        assert len(found.acquisitions) + len(found.problems) >= 1
        for acquisition in found.acquisitions:
            assert all(np.isfinite(echo.echo_time) and echo.echo_time > 0 for echo in acquisition.echoes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(texts.filter(str.strip), min_size=2, max_size=2), max_size=4))
def test_a_table_keeps_every_cell_and_starts_no_formula(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.tsv")
        cells = [dict(zip(("a", "b"), row, strict=True)) for row in rows]
        write_table(path, ("a", "b"), cells)
        written = path.read_text(encoding="utf-8")
        assert len(written.splitlines()) == len(rows) + 1
        assert all(char.isprintable() or char in "\t\n" for char in written)
        for line in written.splitlines()[1:]:
            for cell in line.split("\t"):
                assert not cell.startswith(("=", "@"))
                assert not cell.startswith(("+", "-")) or np.isfinite(float(cell))
        assert len(read_table(path).rows) == len(rows)


@settings(max_examples=60, deadline=None)
@given(texts, texts, texts, texts)
def test_a_dicom_header_of_any_text_gives_legal_labels(
    identifier: str, name: str, description: str, protocol: str
) -> None:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated = dataset.BitsStored = 16
    for tag, text in (
        ((0x10, 0x20), identifier),
        ((0x10, 0x10), name),
        ((0x8, 0x103E), description),
        ((0x18, 0x1030), protocol),
    ):
        dataset.add_new(tag, "LO", text.encode("utf-8", "replace"))
    dataset.PixelData = bytes(8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.dcm")
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        header = read_file(str(path))
        if isinstance(header, LeftOut):
            return
    labels = label_subjects([header.scan], SavedLabels())
    for visit in labels.visits.values():
        assert visit.subject.isalnum()
        assert visit.subject.isascii()


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), st.lists(st.lists(texts, max_size=4), max_size=3))
def test_a_table_of_participants_of_any_content_starts_no_formula_in_that_of_the_group(
    header: list[str], lines: list[list[str]]
) -> None:
    text = "".join("\t".join(line) + "\n" for line in [["participant_id", *header], *lines])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "participants.tsv")
        path.write_text(text, encoding="utf-8", errors="replace")
        rows = read_tsv(path.read_text(encoding="utf-8"))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = list(csv.reader(io.StringIO(csv_text(columns, rows).removeprefix("\ufeff"), newline="")))
    assert len(cells) == len(rows) + 1
    for cell in (cell for line in cells for cell in line):
        assert not cell.startswith(("=", "@", "\t", "\r"))
        assert not cell.startswith(("+", "-")) or cell[1:2].isdigit() or cell[1:2] == "."
        assert all(ord(char) >= 32 for char in cell)
