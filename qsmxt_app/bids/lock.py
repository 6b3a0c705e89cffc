"""One run at a time on a participant's outputs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from qsmxt_app.bids.atomic import make_folder, output_error
from qsmxt_app.bids.entities import without_prefix
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed

FOLDER = ".locks"
_ATTEMPTS = 5


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes
    ----------
    host, machine, boot, namespace
        Name of the host, id of its installation and of its last boot, and namespace of process numbers
        (two containers on one host may both have a process 1).
    pid, started
        Process, and its start in clock ticks since boot, which tells it from a later one of the same number.
    since
        For people.
    token
        Random.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    started: str
    since: str
    token: str


@contextlib.contextmanager
def participant_lock(out: Path, label: str) -> Iterator[None]:
    """Hold a participant's outputs for this process while the block runs.

    The lock is a file in ``.locks/`` of the output folder, made by a hard link or an exclusive create, which
    network file systems do atomically too. It is released on any exit from the block. One that a process of
    this machine left behind when it died is taken over.

    Parameters
    ----------
    out
        The derivative's folder.
    label
        The participant, with or without ``sub-``.

    Raises
    ------
    CannotCreateOutput
        If another process holds the lock, with its host, process and since when; or if no file can be made.
    """
    with named_lock(out, f"sub-{without_prefix('sub', label)}"):
        yield


@contextlib.contextmanager
def named_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold anything else in a folder, by a name of letters and digits; otherwise as `participant_lock`."""
    path = folder / FOLDER / f"{name}.lock"
    mine = _myself()
    _acquire(path, mine)
    try:
        yield
    finally:
        _release(path, mine)


def _acquire(path: Path, mine: Holder) -> None:
    make_folder(path.parent)
    for _ in range(_ATTEMPTS):
        if _create(path, mine):
            return
        holder = _read(path)
        if holder is None:
            # Released between the two calls.
            continue
        if not _is_dead(holder, mine):
            raise CannotCreateOutput(
                f"{path.stem}: process {holder.pid} on {holder.host} has been at it since {holder.since}.",
                f"Wait for it; if it is not running any more, remove {path}.",
            )
        _remove(path, holder)
    raise CannotCreateOutput(f"{path}: changes all the time; several runs start at once.", "Run again.")


def _create(path: Path, mine: Holder) -> bool:
    """Make the lock with its content in one step: link() fails where the name exists, also over NFS."""
    temporary = path.with_name(f".{path.name}.{mine.token}")
    try:
        temporary.write_text(json.dumps(asdict(mine)))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links (exFAT, some FUSE mounts).
            return _create_exclusively(path, mine)
        return True
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _create_exclusively(path: Path, mine: Holder) -> bool:
    try:
        with path.open("x") as stream:
            stream.write(json.dumps(asdict(mine)))
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> Holder | None:
    try:
        content = path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise output_error(path, error) from error
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        # Being written by a host without hard links, or foreign: never taken over.
        return Holder("an unknown host", "", "", "", 0, "", "an unknown time", "")


def _remove(path: Path, holder: Holder) -> None:
    """Remove a dead holder's lock and no other, though several processes of this host may try at once."""
    with contextlib.suppress(OSError), path.with_name(".takeover").open("a") as turnstile:
        # Where the file system has no flock, the time between the comparison and the removal remains.
        with contextlib.suppress(OSError):
            fcntl.flock(turnstile, fcntl.LOCK_EX)
        if _read(path) == holder:
            path.unlink()


def _release(path: Path, mine: Holder) -> None:
    # A forked worker must not release the lock of its parent.
    with contextlib.suppress(OSError, CannotCreateOutput, InputOutputFailed):
        if os.getpid() == mine.pid and _read(path) == mine:
            path.unlink()


def _myself() -> Holder:
    pid = os.getpid()
    return Holder(
        host=socket.gethostname(),
        machine=_content("/etc/machine-id"),
        boot=_content("/proc/sys/kernel/random/boot_id"),
        namespace=_namespace(),
        pid=pid,
        started=_start_of(pid),
        since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        token=secrets.token_hex(8),
    )


def _is_dead(holder: Holder, me: Holder) -> bool:
    """Whether a holder is known not to run any more; what cannot be known counts as alive."""
    if (holder.host, holder.machine) != (me.host, me.machine):
        return False
    if holder.boot != me.boot:
        return bool(holder.machine)
    return (
        holder.namespace == me.namespace and bool(holder.started) and _start_of(holder.pid) != holder.started
    )


def _start_of(pid: int) -> str:
    """Start of a process in clock ticks since boot; empty where there is no such process."""
    status = _content(f"/proc/{pid}/stat")
    # The name in parentheses may hold spaces; the start is the 22nd field, the 20th after it.
    return status.rpartition(")")[2].split()[19] if status else ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _content(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""
