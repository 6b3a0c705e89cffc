"""Finding DICOM images in any folder, by content, and reading their headers in parallel."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

from qsmxt_app.convert.dicom.batch import BATCH, Packets, read_packets, unpack
from qsmxt_app.convert.dicom.fields import indices
from qsmxt_app.convert.dicom.frames import with_frames
from qsmxt_app.convert.dicom.header import (
    KIND_NAMES,
    SCAN_NAMES,
    SLICE_NAMES,
    Header,
    ImageKind,
    ScanParameters,
    decoded,
    header_of,
    is_enhanced,
    kind_of,
    scan_of,
)
from qsmxt_app.convert.dicom.reading import UnusableFile, read_elements, without_warnings

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
Progress = Callable[[int, int], None]
"""Called with the number of files read and of files found."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file (or a folder that could not be entered) that takes no part, and why in words."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """Everything below a folder: each file is either a header or left out.

    Attributes
    ----------
    headers
        DICOM images, by path.
    left_out
        All other files, by path.
    """

    headers: tuple[Header, ...]
    left_out: tuple[LeftOut, ...]


def find_dicom(
    folder: Path,
    *,
    n_threads: int = 2,
    leave_alone: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Found:
    """Find the DICOM images below a folder and read their headers.

    Parameters
    ----------
    folder
        Any tree. Links to folders are followed, but no folder is read twice.
    n_threads
        Threads that read; the walk over a header does not hold the interpreter's lock.
    leave_alone
        Folders below that are not looked into (an output folder, for instance).
    progress
        Told now and then how far it is.

    Returns
    -------
    Found
        Every file below the folder exactly once, sorted by path, whatever the order on disk and of threads.
    """
    paths, left_out = list_files(folder, leave_alone)
    headers: list[Header] = []
    done = 0
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    with without_warnings(), _without_collection(), ThreadPoolExecutor(max(n_threads, 1)) as pool:
        for batch in _in_order(pool, _read_batch, batches, ahead=4 * n_threads):
            for one in batch:
                if isinstance(one, LeftOut):
                    left_out.append(one)
                else:
                    headers.append(one)
            done += len(batch)
            if progress is not None:
                progress(done, len(paths))
    return Found(tuple(headers), tuple(sorted(left_out, key=lambda one: str(one.path))))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Spare the garbage collector from going through all headers again and again: they hold no circles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def list_files(folder: Path, leave_alone: Sequence[Path] = ()) -> tuple[list[str], list[LeftOut]]:
    """List the regular files below a folder, sorted, and what cannot be read or entered."""
    files: list[str] = []
    left_out: list[LeftOut] = []
    seen = {_identity(path) for path in leave_alone if path.exists()}
    pending, links = [str(folder)], list[str]()
    while pending or links:
        # links come last, so that a folder is known by its own name and not by that of a link to it
        current = pending.pop() if pending else links.pop()
        try:
            identity = _identity(current)
            if identity in seen:
                left_out.extend(_already_read(Path(current)))
                continue
            seen.add(identity)
            with os.scandir(current) as entries:
                for entry in entries:
                    _sort_entry(entry, files, links if entry.is_symlink() else pending, left_out)
        except OSError as error:
            left_out.append(LeftOut(Path(current), f"cannot be entered ({error.strerror})"))
    return sorted(files), left_out


def _already_read(folder: Path) -> list[LeftOut]:
    return [LeftOut(folder, "a link to a folder that is read already")] if folder.is_symlink() else []


def _sort_entry(
    entry: os.DirEntry[str], files: list[str], folders: list[str], left_out: list[LeftOut]
) -> None:
    try:
        if entry.is_file():
            files.append(entry.path)
        elif entry.is_dir():
            folders.append(entry.path)
        else:
            mode = entry.stat().st_mode  # raises for a link to nothing, and for links in a circle
            reason = "a socket, pipe or device" if not stat.S_ISREG(mode) else "not a regular file"
            left_out.append(LeftOut(Path(entry.path), reason))
    except OSError as error:
        left_out.append(LeftOut(Path(entry.path), f"cannot be read ({error.strerror})"))


def _identity(path: str | Path) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    """Map in parallel, results in order, at most so many ahead of what has been taken."""
    remaining = iter(items)
    running = [pool.submit(function, item) for item in islice(remaining, ahead)]
    while running:
        result = running.pop(0).result()
        running.extend(pool.submit(function, item) for item in islice(remaining, 1))
        yield result


def _read_batch(paths: Sequence[str]) -> list[Header | LeftOut]:
    packets = read_packets(paths)
    return [_from_packets(path, one) or read_file(path) for path, one in zip(paths, packets, strict=True)]


def _from_packets(path: str, packets: Packets | None) -> Header | None:
    """Header of an ordinary classic file; None for all others."""
    if packets is None:
        return None
    scan, kind = _scan(packets[0]), _kind(packets[1])
    if scan is None or kind is None:
        return None
    values = packets[2]
    header = decoded(path, scan, kind, (values + _NOTHING)[: len(_NOTHING)])
    return header if header.sop_uid else None


_NOTHING = [b""] * len(SLICE_NAMES)


@lru_cache(maxsize=4096)
def _scan(packet: bytes) -> ScanParameters | None:
    values = unpack(packet)
    scan = scan_of(tuple(values.get(index) for index in indices(*SCAN_NAMES)))
    return None if scan.enhanced or _unusable_scan(scan) else scan


@lru_cache(maxsize=4096)
def _kind(packet: bytes) -> ImageKind | None:
    values = unpack(packet)
    kind = kind_of(tuple(values.get(index) for index in indices(*KIND_NAMES)))
    return kind if kind.rows and kind.columns else None


def read_file(path: str) -> Header | LeftOut:
    """Read the header of one file, or say why it is no image."""
    try:
        raw = read_elements(path)
        header = header_of(path, raw)
        if is_enhanced(raw):
            header = with_frames(header)
    except UnusableFile as error:
        return LeftOut(Path(path), str(error))
    except OSError as error:
        return LeftOut(Path(path), f"cannot be read ({error.strerror})")
    reason = _unusable(header)
    return LeftOut(Path(path), reason) if reason else header


def _unusable(header: Header) -> str:
    first = header.slices[0].kind
    if not header.sop_uid:
        return "DICOM without a UID of its own"
    return _unusable_scan(header.scan) or ("" if first.rows and first.columns else "DICOM without an image")


def _unusable_scan(scan: ScanParameters) -> str:
    if scan.modality != "MR":
        return f"DICOM of another kind: modality {scan.modality or 'not given'}"
    return "" if scan.series_uid else "DICOM without the UID of its series"
