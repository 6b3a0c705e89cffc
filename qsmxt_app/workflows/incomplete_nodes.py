"""A work folder after a crash, or of older software: what is not whole, or cannot be read, is made again.

A killed process leaves its step unfinished, which nipype sees. A machine that lost its power, or a server
that lost its cache, may also leave the mark of a finished step without all the content of its files. Results
are pickles, which other versions of nipype, traits or Python may not be able to read.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from qsmxt_app.bids.atomic import write_json

FILES = "files.json"
WRITERS = ("nipype", "traits")
"""Packages whose objects are in the pickles of results."""
FINISHED, UNFINISHED = "_0x*.json", "_unfinished.json"

log = logging.getLogger("qsmxt")


def note_files(folder: Path) -> None:
    """Bring all files of a finished step to the disk, and note their sizes beside them."""
    sizes = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("_"):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
                sizes[path.name] = os.fstat(stream.fileno()).st_size
    write_json(folder / FILES, {"sizes": sizes, "made_with": made_with()})


@cache
def made_with() -> dict[str, str]:
    """Versions of what writes and reads the results of steps."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python, **{name: version(name) for name in WRITERS}}


def discard_incomplete_nodes(folder: Path) -> list[Path]:
    """Let the steps below a folder be made again of which a file is torn or lost, or that others wrote.

    Returns
    -------
    list of pathlib.Path
        Their folders.
    """
    torn = []
    for step in _finished_steps(folder):
        if not _whole(step):
            log.warning("%s: not whole since a crash, or of another version; made again", step)
            for mark in step.glob(FINISHED):
                with contextlib.suppress(OSError):
                    mark.unlink()
            torn.append(step)
    return torn


def _finished_steps(folder: Path) -> Iterator[Path]:
    marks = (mark for mark in folder.rglob(FINISHED) if not mark.name.endswith(UNFINISHED))
    yield from dict.fromkeys(mark.parent for mark in marks)


def _whole(step: Path) -> bool:
    results = list(step.glob("result_*.pklz"))
    if not results:
        return False
    try:
        noted = json.loads((step / FILES).read_text(encoding="utf-8"))
        if noted["made_with"] != made_with():
            return False
        if any((step / name).stat().st_size != size for name, size in noted["sizes"].items()):
            return False
        for result in results:
            with gzip.open(result) as stream:  # read to its checksum
                if not stream.read():
                    return False
    except (OSError, EOFError, zlib.error, ValueError, KeyError):
        return False
    return True
