"""Remembering a finished conversion, so that the same command goes straight on to what comes after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qsmxt_app.bids.atomic import write_json
from qsmxt_app.convert.code_version import code_digest
from qsmxt_app.convert.dicom.find import list_files

Stamp = list[int]


def fingerprint(source: Path, settings: Mapping[str, Any]) -> str:
    """Digest of what a conversion depends on: names, sizes and times of all files, settings, this code.

    Parameters
    ----------
    source
        The folder that is converted.
    settings
        Plain values of those that matter.
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(json.dumps(dict(settings), sort_keys=True).encode())
    state.update(code_digest().encode())
    for path in list_files(source)[0]:
        line = f"\0{Path(path).relative_to(source)}\0{stamp_of(Path(path))}"
        state.update(line.encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def stamp_of(path: Path) -> Stamp | None:
    """Size and time of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def save_outcome(cache_file: Path, key: str, files: Iterable[Path], outcome: Mapping[str, Any]) -> None:
    """Note that a conversion is finished.

    Parameters
    ----------
    cache_file
        The file for it.
    key
        From `fingerprint`.
    files
        All that the conversion wrote, and the tables that users edit: if one changes, it is not finished.
    outcome
        Plain values to give back.
    """
    stamps = {str(path): stamp_of(path) for path in files}
    write_json(cache_file, {"key": key, "files": stamps, "outcome": outcome})


def load_outcome(cache_file: Path, key: str, present: Iterable[Path] = ()) -> dict[str, Any] | None:
    """Return the outcome of a conversion that is finished and unchanged; None for any other.

    Parameters
    ----------
    cache_file, key
        As for `save_outcome`.
    present
        Files that the conversion must have known of.
    """
    try:
        content = json.loads(cache_file.read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        if not {str(path) for path in present} <= content["files"].keys():
            return None
        if any(stamp is None or stamp_of(Path(path)) != stamp for path, stamp in content["files"].items()):
            return None
        return dict(content["outcome"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
