"""Writing files so that a reader finds either the whole file or none, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np

from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed, QsmxtError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BufferedWriter]:
    """Open a file that appears under its name only when the block ends without an exception.

    The content goes to a hidden file in the same folder, reaches the disk (fsync), and is then renamed.

    Raises
    ------
    CannotCreateOutput
        If the folder or file cannot be created.
    InputOutputFailed
        If writing fails half-way, for example on a full disk; nothing is left behind.
    """
    make_folder(path.parent)
    temporary = path.parent / f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        try:
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise output_error(path, error) from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; several processes may do so at once.

    Raises
    ------
    CannotCreateOutput, InputOutputFailed
        As `atomic_file`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; one that already has this content is left alone."""
    content = text.encode()
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    with atomic_file(path) as stream:
        stream.write(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; NumPy values become plain ones, NaN and infinity null."""
    write_text(path, json.dumps(plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Turn NumPy arrays and scalars, paths and tuples into what JSON knows.

    Examples
    --------
    >>> plain({"alpha": (0.1, float("nan")), "file": Path("a")})
    {'alpha': [0.1, None], 'file': 'a'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        # A float32 of 0.1 should read 0.1, not 0.10000000149.
        return plain(float(str(value)) if isinstance(value, np.floating) else value.item())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def is_full(error: BaseException) -> bool:
    """Whether a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def output_error(path: Path, error: OSError) -> QsmxtError:
    """Say which output failed and why, in the class whose exit code fits."""
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return InputOutputFailed(
            f"{path}: not written, the disk or quota is full.", "Free some space and run again."
        )
    if error.errno in _NOT_ALLOWED:
        return CannotCreateOutput(
            f"{path}: cannot be created ({reason}).", "Choose a folder that can be written."
        )
    return InputOutputFailed(f"{path}: writing failed ({reason}).", "Check the disk or mount and run again.")


def _sync_folder(folder: Path) -> None:
    # Some network file systems do not let a folder be opened or synchronised; the rename still holds there.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
