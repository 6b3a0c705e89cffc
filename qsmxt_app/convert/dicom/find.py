"""Finding DICOM images in any folder, by content, and reading their headers in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qsmxt_app.bids.entities import IMAGE_EXTENSIONS
from qsmxt_app.convert.dicom.frames import with_frames
from qsmxt_app.convert.dicom.header import Header, elements, header_of
from qsmxt_app.convert.dicom.reading import (
    DamagedFile,
    PackedFile,
    UnusableFile,
    read_dataset,
    without_warnings,
)
from qsmxt_app.errors import UnusableData

Unread = Literal["", "archive", "NIfTI file", "damaged file"]
Progress = Callable[[int, int], None]
"""Called with the number of files read and of files found."""
BATCH = 64
"""Files that a process reads at once."""
UNPACK = "Unpack archives beside the other files, and run the same command again"
FEW = 256
"""Files up to which starting processes takes longer than it saves."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file (or a folder that could not be entered) that takes no part, and why in words."""

    path: Path
    reason: str
    unread: Unread = ""
    """What it is, if it may hold images that were not read."""


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
    n_procs: int = 2,
    leave_alone: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Found:
    """Find the DICOM images below a folder and read their headers.

    Parameters
    ----------
    folder
        Any tree. Links to folders are followed, but no folder is read twice.
    n_procs
        Processes that read; a small folder is read in this one.
    leave_alone
        Folders below that are not looked into (an output folder, for instance).
    progress
        Told now and then how far it is.

    Returns
    -------
    Found
        Every file below the folder exactly once, sorted by path, whatever the order on disk and of processes.

    Raises
    ------
    UnusableData
        If a process that reads is killed.
    """
    paths, left_out = list_files(folder, leave_alone)
    headers: list[Header] = []
    known: dict[Any, Any] = {}
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    done = 0
    try:
        for batch in _read_batches(batches, 1 if len(paths) <= FEW else n_procs):
            headers += [_shared(one, known) for one in batch if isinstance(one, Header)]
            left_out += [one for one in batch if isinstance(one, LeftOut)]
            done += len(batch)
            if progress is not None:
                progress(done, len(paths))
    except BrokenProcessPool as error:
        raise UnusableData(
            f"{folder}: a process that reads headers was killed after {done} of {len(paths)} files, "
            "probably out of memory.",
            "Lower --n-cpus, or look for a damaged file among those that follow in the order of names.",
        ) from error
    return Found(tuple(headers), tuple(sorted(left_out, key=lambda one: str(one.path))))


def _read_batches(batches: Sequence[list[str]], n_procs: int) -> Iterator[list[Header | LeftOut]]:
    """Read files in this process, or in new ones, which share none of its threads; results in order."""
    if n_procs <= 1:
        yield from map(_read_batch, batches)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_procs, context, initializer=_ignore_interrupts)
    try:
        yield from pool.map(_read_batch, batches)
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_batch(paths: Sequence[str]) -> list[Header | LeftOut]:
    known: dict[Any, Any] = {}
    found = [read_file(path) for path in paths]
    return [_shared(one, known) if isinstance(one, Header) else one for one in found]


def _shared(header: Header, known: dict[Any, Any]) -> Header:
    """Keep what many files have in common once: in memory, and on the way between processes."""
    slices = tuple(one._replace(kind=known.setdefault(one.kind, one.kind)) for one in header.slices)
    return header._replace(scan=known.setdefault(header.scan, header.scan), slices=slices)


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
    return [LeftOut(folder, "a link to a folder that was read already")] if folder.is_symlink() else []


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


def read_file(path: str) -> Header | LeftOut:
    """Read the header of one file, or say why it is not an image."""
    try:
        with without_warnings():
            dataset = read_dataset(path, elements())
            header = header_of(path, dataset)
            if header.scan.enhanced:
                header = with_frames(header, dataset)
    except UnusableFile as error:
        return LeftOut(Path(path), str(error), _unread(path, error))
    except OSError as error:
        return LeftOut(Path(path), f"cannot be read ({error.strerror})", "damaged file")
    reason = _unusable(header)
    return LeftOut(Path(path), reason) if reason else header


def _unread(path: str, error: UnusableFile) -> Unread:
    if isinstance(error, PackedFile):
        return "archive"
    if isinstance(error, DamagedFile):
        return "damaged file"
    return "NIfTI file" if path.lower().endswith(IMAGE_EXTENSIONS) else ""


def _unusable(header: Header) -> str:
    scan, first = header.scan, header.slices[0].kind
    if not header.sop_uid:
        return "DICOM without a UID of its own"
    if scan.modality != "MR":
        return f"DICOM of another kind: modality {scan.modality or 'not given'}"
    if not scan.series_uid:
        return "DICOM without the UID of its series"
    return "" if first.rows and first.columns else "DICOM without an image"
