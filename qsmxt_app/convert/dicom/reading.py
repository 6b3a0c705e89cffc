"""Reading the wanted elements of one file's header, whatever its name, without its pixels."""

from __future__ import annotations

import io
import logging
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom

from qsmxt_app.convert.dicom.elements import DONE, NEEDS_BYTES, long_forms, walk
from qsmxt_app.convert.dicom.fields import INDEX, TAGS, WANTED, Raw

CHUNK = 16384
"""Bytes read at once: most headers end within."""
LONGEST_ELEMENT = 1 << 24
"""Bytes after which a wanted element, all of which are short, is taken for damage."""

_IMPLICIT, _BIG_ENDIAN, _DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
_FIRST_OF_META = b"\x02\x00\x00\x00UL\x04\x00"
_SYNTAX_ELEMENT = b"\x02\x00\x10\x00UI"
_DIRECTORY_CLASS = b"1.2.840.10008.1.3.10"
_GZIP = b"\x1f\x8b"
# elements that a data set without preamble begins with: (0008,0000) length to (0008,0018) SOP instance
_FIRST_ELEMENTS = frozenset({0x00, 0x01, 0x05, 0x06, 0x08, 0x12, 0x14, 0x16, 0x18})
_BINARY = frozenset(
    INDEX[name]
    for name in (
        "rows",
        "columns",
        "siemens_mosaic_slices",
        "ge_locations",
        "ge_image_type",
        "philips_slices",
    )
)
_IS_LONG_FORM = long_forms()


class UnusableFile(Exception):
    """A file that no image can be made from; the message says why."""


class NotDicom(UnusableFile):
    """A file of another kind."""


class _Plain:
    """Bytes of an open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.descriptor, size, offset)

    def reaches(self, size: int) -> bool:
        return os.fstat(self.descriptor).st_size >= size


class _Gzipped:
    """Bytes of an open gzipped file; offsets only rise, and what lies before them is forgotten."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.inflate = zlib.decompressobj(wbits=31)
        self.taken = 0  # compressed bytes read
        self.start = 0  # offset of the first byte kept
        self.kept = b""
        self.ended = False

    def read(self, offset: int, size: int) -> bytes:
        while self.start + len(self.kept) < offset + size and self._more():
            self._forget(offset)
        self._forget(offset)
        return self.kept[:size]

    def reaches(self, size: int) -> bool:
        while self.start + len(self.kept) < size and self._more():
            self._forget(self.start + len(self.kept))
        return self.start + len(self.kept) >= size

    def _forget(self, offset: int) -> None:
        drop = min(max(offset - self.start, 0), len(self.kept))
        self.kept, self.start = self.kept[drop:], self.start + drop

    def _more(self) -> bool:
        if self.ended:
            return False
        piece = self.inflate.unconsumed_tail
        if not piece:
            piece = os.pread(self.descriptor, CHUNK, self.taken)
            self.taken += len(piece)
        try:
            self.kept += self.inflate.decompress(piece, 1 << 20)
        except zlib.error as error:
            raise UnusableFile("damaged: it cannot be decompressed") from error
        self.ended = self.inflate.eof or not piece
        return True


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep pydicom from telling of each value that breaks the standard: scanners write thousands."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def open_dicom(path: Path) -> BinaryIO:
    """Open a file for pydicom, decompressed where it is gzipped."""
    content = path.read_bytes()
    return io.BytesIO(zlib.decompress(content, wbits=31) if content.startswith(_GZIP) else content)


def read_elements(path: str | Path) -> Raw:
    """Read the wanted elements of a file.

    Returns
    -------
    Raw
        The bytes of each element in `fields.TAGS`, little-endian; None where it is missing.

    Raises
    ------
    NotDicom
        If the file is of another kind.
    UnusableFile
        If it is DICOM without an image, cut short or damaged.
    OSError
        If it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        first = os.pread(descriptor, CHUNK, 0)
        if not first:
            raise NotDicom("empty")
        source: _Plain | _Gzipped = _Plain(descriptor)
        if first.startswith(_GZIP):
            source = _Gzipped(descriptor)
            first = source.read(0, CHUNK)
        start, syntax = _beginning(first)
        if _DIRECTORY_CLASS in first[:start]:
            raise UnusableFile("a DICOMDIR: an index of other files")
        if syntax in {_BIG_ENDIAN, _DEFLATED}:
            return _read_with_pydicom(path)
        values = _walk_file(source, first, start, explicit=syntax != _IMPLICIT)
        return _read_with_pydicom(path) if values is None else values
    finally:
        os.close(descriptor)


def _beginning(first: bytes) -> tuple[int, bytes]:
    """Where the data set begins and in which transfer syntax it is."""
    if first[128:132] == b"DICM":
        at = 132
    elif first.startswith(_FIRST_OF_META):
        at = 0
    elif len(first) > 8 and first[:2] == b"\x08\x00" and first[3] == 0 and first[2] in _FIRST_ELEMENTS:
        return 0, _guessed_syntax(first, 0)
    else:
        raise NotDicom("not DICOM")
    if first[at : at + 8] != _FIRST_OF_META:
        return at, _guessed_syntax(first, at)
    end = at + 12 + int.from_bytes(first[at + 8 : at + 12], "little")
    found = first.find(_SYNTAX_ELEMENT, at, end)
    if found < 0:
        return end, _guessed_syntax(first, end)
    length = int.from_bytes(first[found + 6 : found + 8], "little")
    return end, first[found + 8 : found + 8 + length].rstrip(b"\0 ")


def _guessed_syntax(first: bytes, at: int) -> bytes:
    """Implicit or explicit, from whether the first element names a representation; b"" means explicit."""
    return b"" if first[at + 4 : at + 6].isalpha() and first[at + 4 : at + 6].isupper() else _IMPLICIT


def _walk_file(source: _Plain | _Gzipped, first: bytes, start: int, *, explicit: bool) -> Raw | None:
    """Walk from chunk to chunk; None where the walk does not understand the file."""
    values: list[bytes | None] = [None] * WANTED.size
    buffer, base, position, depth, size = first, 0, start, 0, CHUNK
    while True:
        found = np.full((WANTED.size, 2), -1, dtype=np.int64)
        status, position, depth, pixel_length, count = walk(
            np.frombuffer(buffer, dtype=np.uint8), position, explicit, depth, WANTED, _IS_LONG_FORM, found
        )
        if count:
            for index, (offset, length) in enumerate(found.tolist()):
                if offset >= 0:
                    values[index] = buffer[offset : offset + length]
        if status == DONE:
            if pixel_length >= 0 and not source.reaches(base + position + pixel_length):
                raise UnusableFile("cut short: its pixel data end early")
            return values
        if status != NEEDS_BYTES:
            return None
        # an element that begins the chunk and is longer is read again in a longer one, unless the file ends
        stuck = position == 0 and base > 0
        ended = stuck and len(buffer) < size
        size = size * 2 if stuck else CHUNK
        base, position = base + position, 0
        buffer = source.read(base, size)
        if ended or len(buffer) < 12 or size > LONGEST_ELEMENT:
            raise _no_pixels(values, len(buffer), source.reaches(base))


def _no_pixels(values: Raw, rest: int, reached: bool) -> UnusableFile:
    sop_class = (values[INDEX["sop_class"]] or b"").rstrip(b"\0 ")
    if not (sop_class or values[INDEX["series_uid"]]):
        return NotDicom("not DICOM, or a damaged header")
    if rest or not reached or sop_class.startswith(b"1.2.840.10008.5.1.4.1.1.4"):
        return UnusableFile("cut short: it ends before its pixel data")
    return UnusableFile("DICOM without an image")


def _read_with_pydicom(path: str | Path) -> Raw:
    """Read what the walk does not understand: big-endian, deflated or damaged files."""
    try:
        dataset = pydicom.dcmread(open_dicom(Path(path)), force=True)
        values = [_raw_value(dataset, tag, index) for index, tag in enumerate(TAGS.values())]
    except Exception as error:  # pydicom raises whatever the damaged bytes lead it to
        raise UnusableFile("damaged: its header cannot be read") from error
    if "PixelData" not in dataset:
        raise _no_pixels(values, 0, True)
    return values


def _raw_value(dataset: pydicom.Dataset, tag: int, index: int) -> bytes | None:
    if tag >> 16 == 0x0002:
        element = dataset.file_meta.get_item(tag) if hasattr(dataset, "file_meta") else None
    else:
        element = dataset.get_item(tag)
    value = None if element is None else element.value
    if value is None or isinstance(value, bytes):
        swap = value and index in _BINARY and not dataset.original_encoding[1]
        return value[::-1] if swap and value else value
    return "\\".join(map(str, value)).encode() if isinstance(value, list) else str(value).encode()
