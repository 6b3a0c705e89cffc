"""Copying images voxel by voxel, without the texts that their headers may hold."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib

from qsmxt_app.bids.atomic import atomic_file
from qsmxt_app.bids.headers import parse_header
from qsmxt_app.errors import InputOutputFailed, UnusableData

# Converters and viewers put a person's name, a comment or a path into these.
_TEXTS = ("data_type", "db_name", "descrip", "aux_file", "intent_name")
_BLOCK = 1 << 20
_COMPRESSION = 3


def copy_image(source: Path, target: Path) -> None:
    """Copy a NIfTI image to a ``.nii.gz``: the same voxels and geometry, no texts, no header extensions.

    The same image gives the same bytes.

    Raises
    ------
    NoInput, UnusableData
        If the source cannot be read to its end.
    CannotCreateOutput, InputOutputFailed
        If the target cannot be written.
    """
    with (
        atomic_file(target) as stream,
        gzip.GzipFile("", "wb", _COMPRESSION, fileobj=stream, mtime=0) as compressed,
    ):
        for block in _public_blocks(source):
            compressed.write(block)


def digest_of_copy(source: Path) -> bytes:
    """Digest of what `copy_image` would write, before compression."""
    return _digest(_public_blocks(source))


def digest_of_image(path: Path) -> bytes:
    """Digest of an image as it is, before compression."""
    with _opened(path) as stream:
        return _digest(_blocks(stream))


def _digest(blocks: Iterator[bytes]) -> bytes:
    state = hashlib.blake2b(digest_size=20)
    for block in blocks:
        state.update(block)
    return state.digest()


def _public_blocks(source: Path) -> Iterator[bytes]:
    header = parse_header(source)
    offset = int(header["vox_offset"])
    for text in _TEXTS:
        header[text] = b""
    # nibabel writes the header with the shortest offset that holds it, and no extension
    header.extensions.clear()
    header["vox_offset"] = header.single_vox_offset
    start = BytesIO()
    header.write_to(start)
    yield start.getvalue().ljust(header.single_vox_offset, b"\0")
    with _opened(source) as stream:
        _skip(stream, offset)
        left = _length(header)
        for block in _blocks(stream):
            yield block[:left]
            left -= min(left, len(block))
        if left:
            raise UnusableData(f"{source}: truncated or damaged.", "Convert or copy it again.")


def _length(header: nib.nifti1.Nifti1Header) -> int:
    voxels = 1
    for size in header.get_data_shape():
        voxels *= int(size)
    return voxels * int(header.get_data_dtype().itemsize)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as raw:
            if path.suffix != ".gz":
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                yield cast("BinaryIO", stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnusableData(f"{path}: truncated or damaged.", "Convert or copy it again.") from error
    except OSError as error:
        # only reading happens in this block: what is written has its own errors
        raise InputOutputFailed(f"{path}: reading failed ({error.strerror}).", "Check the disk.") from error


def _skip(stream: BinaryIO, length: int) -> None:
    while length:
        block = stream.read(min(length, _BLOCK))
        if not block:
            return
        length -= len(block)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block
