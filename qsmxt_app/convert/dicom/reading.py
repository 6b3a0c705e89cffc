"""Reading the header of one file, whatever its name, without its pixels."""

from __future__ import annotations

import gzip
import io
import logging
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from qsmxt_app.convert.dicom.values import uid

_GZIP = b"\x1f\x8b"
_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
}
_TAR, _TAR_AT = b"ustar", 257
_MR_CLASSES = "1.2.840.10008.5.1.4.1.1.4"
_CHUNK = 1 << 20


class UnusableFile(Exception):
    """A file that no image can be made from; the message says why."""


class NotDicom(UnusableFile):
    """A file of another kind."""


class PackedFile(NotDicom):
    """An archive, which may hold DICOM files."""


class DamagedFile(UnusableFile):
    """A DICOM file, or a compressed one, that cannot be read to its end."""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep pydicom from telling of each value that breaks the standard: scanners write thousands."""
    logger = logging.getLogger("pydicom")
    level, mode = logger.level, pydicom.config.settings.reading_validation_mode
    logger.setLevel(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.settings.reading_validation_mode = mode
        logger.setLevel(level)


def open_dicom(path: Path) -> IO[bytes]:
    """Open a file for pydicom, decompressed where it is gzipped."""
    content = path.read_bytes()
    return io.BytesIO(zlib.decompress(content, wbits=31) if content.startswith(_GZIP) else content)


def read_dataset(path: str | Path, tags: list[BaseTag]) -> Dataset:
    """Read some elements of a file that holds an image.

    Parameters
    ----------
    path
        Any file, gzipped or not.
    tags
        Elements to read; those of pixel data are not.

    Raises
    ------
    NotDicom
        If the file is of another kind.
    UnusableFile
        If it is DICOM without an image, cut short or damaged.
    OSError
        If it cannot be read.
    """
    with without_warnings(), Path(path).open("rb") as file:
        compressed = file.read(2) == _GZIP
        file.seek(0)
        try:
            if not compressed:
                return _read(file, tags)
            with gzip.GzipFile(fileobj=file) as stream:
                return _read(stream, tags)
        except UnusableFile:
            raise
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DamagedFile("damaged: it cannot be decompressed") from error
        except OSError:
            raise
        except Exception as error:  # pydicom raises whatever the damaged bytes lead it to
            raise DamagedFile("damaged: its header cannot be read") from error


def _read(stream: IO[bytes] | gzip.GzipFile, tags: list[BaseTag]) -> Dataset:
    start = stream.read(_TAR_AT + len(_TAR))
    if not start:
        raise NotDicom("empty")
    if kind := _archive(start):
        raise PackedFile(f"an archive ({kind}), which is not opened: unpack it")
    # without a preamble, a data set begins with the group of the meta header or of identification
    if start[128:132] != b"DICM" and start[:2] not in {b"\x02\0", b"\x08\0"}:
        raise NotDicom("not DICOM")
    stream.seek(0)
    dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=tags)
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise UnusableFile("a DICOMDIR: an index of other files")
    _check_pixels(dataset, stream)
    return dataset


def _archive(start: bytes) -> str:
    """Kind of an archive, by how it begins."""
    if start[_TAR_AT:] == _TAR:
        return "tar"
    return next((kind for magic, kind in _ARCHIVES.items() if start.startswith(magic)), "")


def _check_pixels(dataset: Dataset, stream: IO[bytes] | gzip.GzipFile) -> None:
    """Check that the header ends at pixel data, and that these are as long as it says."""
    sop_class = uid(dataset, "SOPClassUID")
    if not (sop_class or uid(dataset, "SeriesInstanceUID")):
        raise NotDicom("not DICOM, or a damaged header")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        return  # pydicom has read all of it
    implicit, little = dataset.original_encoding
    element = stream.read(8 if implicit else 12)
    if element[:2] != (b"\xe0\x7f" if little else b"\x7f\xe0"):
        cut = sop_class.startswith(_MR_CLASSES)
        if not cut:
            raise UnusableFile("DICOM without an image")
        raise DamagedFile("cut short: it ends before its pixel data")
    try:
        expected = 0 if syntax is not None and syntax.is_compressed else get_expected_length(dataset)
    except Exception:  # the elements that say so are missing or damaged
        return
    if not _has_bytes(stream, expected):
        raise DamagedFile("cut short: its pixel data end early")


def _has_bytes(stream: IO[bytes] | gzip.GzipFile, count: int) -> bool:
    if not isinstance(stream, gzip.GzipFile):
        return stream.tell() + count <= os.fstat(stream.fileno()).st_size
    while count > 0:
        piece = stream.read(min(count, _CHUNK))
        if not piece:
            return False
        count -= len(piece)
    return True
