"""Compiled kernels that a power loss or a full disk left torn: numba would fail on them in every run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_START, _END = b"\x80", b"."
"""First and last byte of a pickle, as numba's index (.nbi) and kernels (.nbc) are."""


def kernel_folders() -> list[Path]:
    """Return where numba keeps the kernels of this package, with the folders below."""
    if name := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(name)]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (no error without a home)
    return [Path(__file__).parent, Path(home, "numba")]


def remove_torn_kernels(folders: Iterable[Path]) -> list[Path]:
    """Remove kernels that are no whole files, so that they are compiled again.

    Returns
    -------
    list of Path
        What was removed; what cannot be read or removed is left to numba.
    """
    removed = []
    for folder in folders:
        for path in (*folder.rglob("*.nbi"), *folder.rglob("*.nbc")):
            with contextlib.suppress(OSError):
                if not _is_whole(path):
                    path.unlink()
                    removed.append(path)
    return removed


def _is_whole(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(1)
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 1))
        return (start, stream.read(1)) == (_START, _END)
