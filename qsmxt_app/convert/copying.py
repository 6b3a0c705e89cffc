"""Copying images voxel by voxel, without the texts that their headers may hold."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib

from qsmxt_app.bids.atomic import atomic_file
from qsmxt_app.bids.headers import parse_header
from qsmxt_app.errors import NoInput, UnusableData

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


def write_volume(source: Path, index: int, target: Path) -> None:
    """Write one volume of a 4D image as a 3D ``.nii``: the voxels as they are stored, with their scaling.

    Parameters
    ----------
    source
        A NIfTI image (x, y, z, n).
    index
        Of the volume, from 0.
    target
        Ends in ``.nii``.
    """
    header = parse_header(source)
    offset = int(header["vox_offset"])
    header.set_data_shape(header.get_data_shape()[:3])
    size = _length(header)
    header["vox_offset"] = header.single_vox_offset
    with atomic_file(target) as stream, _opened(source) as voxels:
        header.write_to(stream)
        _skip(voxels, offset + index * size)
        for block in _blocks(voxels, size):
            stream.write(block)


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
        for block in _blocks(stream, left):
            yield block
            left -= len(block)
        if left:
            raise _damaged(source)
        # only at its end does gzip tell by a checksum whether all was read as written
        for _ in _blocks(stream):
            pass


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
        raise _damaged(path) from error
    except OSError as error:
        # only reading happens in this block: what is written has its own errors
        raise NoInput(
            f"{path}: cannot be read ({error.strerror}).", "Check the file and the disk."
        ) from error


def _skip(stream: BinaryIO, length: int) -> None:
    while length:
        block = stream.read(min(length, _BLOCK))
        if not block:
            return
        length -= len(block)


def _blocks(stream: BinaryIO, length: float = math.inf) -> Iterator[bytes]:
    while length > 0 and (block := stream.read(int(min(_BLOCK, length)))):
        yield block
        length -= len(block)


def _damaged(path: Path) -> UnusableData:
    return UnusableData(f"{path}: truncated or damaged.", "Convert or copy it again.")
