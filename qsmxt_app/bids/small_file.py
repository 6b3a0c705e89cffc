"""Text that comes beside images: sidecars and tables, of which nobody needs more than some megabytes."""

from __future__ import annotations

import stat
from pathlib import Path

from qsmxt_app.errors import NoInput, UnusableData

LARGEST_BYTES = 32 << 20
"""Size of the largest JSON file or table that is read."""


def read_small(path: Path, errors: str = "strict") -> str:
    """Read a text file in UTF-8; a byte order mark at its start does no harm.

    Parameters
    ----------
    path
        The file.
    errors
        What becomes of other bytes, as in `bytes.decode`.

    Raises
    ------
    UnusableData
        If it is no regular file (a pipe could be read for ever), larger than `LARGEST_BYTES`, or not UTF-8.
    NoInput
        If it does not exist or cannot be read.
    """
    content = read_small_bytes(path)
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise UnusableData(f"{path}: not text in UTF-8 ({error.reason}).", "Save it as UTF-8.") from error


def read_small_bytes(path: Path) -> bytes:
    """Read a file of at most `LARGEST_BYTES`, and only if it is a regular one.

    Raises
    ------
    UnusableData, NoInput
        As `read_small`.
    """
    try:
        check_regular(path)
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise NoInput(
            f"{path}: cannot be read ({error.strerror}).", "Check the file and its permissions."
        ) from error
    if len(content) > LARGEST_BYTES:
        raise UnusableData(
            f"{path}: larger than {LARGEST_BYTES >> 20} MB, which no such file needs.", "Remove it."
        )
    return content


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: a pipe could be read for ever.

    Raises
    ------
    UnusableData
        If it is a pipe, a device or a folder.
    OSError
        If it does not exist.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnusableData(f"{path}: not a regular file.", "Remove it.")
