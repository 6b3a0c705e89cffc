"""Folders whose files are unpickled, and may therefore run code: nipype's results and numba's kernels."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

from qsmxt_app.errors import CannotCreateOutput

PRIVATE = 0o700


def check_compiled_cache() -> None:
    """Make the folder that NUMBA_CACHE_DIR names, and refuse it as `check_private` does.

    Raises
    ------
    CannotCreateOutput
        It cannot be made, or is not private.
    """
    if not (name := os.environ.get("NUMBA_CACHE_DIR")):
        return
    advice = "Let NUMBA_CACHE_DIR name another folder"
    try:
        Path(name).mkdir(PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateOutput(f"{name} cannot be created: {error.strerror}.", f"{advice}.") from error
    check_private(Path(name), advice)


def check_private(path: Path, advice: str) -> None:
    """Refuse a folder in which others may put files.

    Parameters
    ----------
    path
        The folder, which exists.
    advice
        How to choose another one, without a full stop.

    Raises
    ------
    CannotCreateOutput
        It belongs to somebody else, or others may write to it.
    """
    status = path.stat()
    # root in a container works in the folders of the user who started it
    if os.geteuid() not in (0, status.st_uid):
        raise CannotCreateOutput(f"{path} belongs to another user.", f"{advice}.")
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)):
        raise CannotCreateOutput(
            f"{path} can be written to by others, who could make this run do anything.",
            f"{advice}, or: chmod go-w {shlex.quote(str(path))}",
        )


def _is_own_group(number: int) -> bool:
    """Whether a group has this user alone, as systems make it for each that use the umask 002."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    alone = set(group.gr_mem) <= {user.pw_name}
    return (group.gr_gid, group.gr_name) == (user.pw_gid, user.pw_name) and alone
