"""One run at a time on a participant's outputs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from qsmxt_app.bids.atomic import make_folder, output_error
from qsmxt_app.bids.entities import without_prefix
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed

FOLDER = ".locks"
BEAT_SECONDS = 15.0
"""How often a holder shows that it lives, by the time of its file."""
SILENT_SECONDS = 120.0
"""After how long without a sign a holder that cannot be looked up (another host or container) is dead."""
LOOK_SECONDS = 0.5
_ATTEMPTS = 5

log = logging.getLogger("qsmxt")


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


class Held(CannotCreateOutput):
    """Another process holds the lock."""


@contextlib.contextmanager
def participant_lock(out: Path, label: str) -> Iterator[None]:
    """Hold a participant's outputs for this process while the block runs.

    The lock is a file in ``.locks/`` of the output folder, made by a hard link or an exclusive create, which
    network file systems do atomically too. It is released on any exit from the block. One that a process of
    this machine left behind when it died is taken over, and so is one from another machine whose holder has
    given no sign of life for `SILENT_SECONDS`; where it may have, that is waited for.

    Parameters
    ----------
    out
        The derivative's folder.
    label
        The participant, with or without ``sub-``.

    Raises
    ------
    Held
        If another process holds the lock, with its host, process and since when.
    CannotCreateOutput
        If no file can be made.
    """
    with named_lock(out, f"sub-{without_prefix('sub', label)}"):
        yield


@contextlib.contextmanager
def named_lock(folder: Path, name: str, *, patience: float = 0.0) -> Iterator[None]:
    """Hold anything else in a folder, by a name of letters, digits, `-` and `_`; as `participant_lock`.

    Parameters
    ----------
    folder, name
        Whose lock.
    patience
        How long a living holder is waited for, in seconds.
    """
    path = folder / FOLDER / f"{name}.lock"
    mine = _myself()
    _acquire(path, mine, time.monotonic() + patience)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, stop), daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        _release(path, mine)


def _acquire(path: Path, mine: Holder, until: float) -> None:
    make_folder(path.parent)
    attempts = 0
    while attempts < _ATTEMPTS:
        if _create(path, mine):
            return
        holder = _read(path)
        if holder is None:
            # Released between the two calls.
            attempts += 1
        elif _is_dead(holder, mine) or _is_silent(path, holder, mine):
            attempts += 1
            log.warning("%s: taken over from process %s on %s, which died", path, holder.pid, holder.host)
            _remove(path, holder)
        elif time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        else:
            raise Held(
                f"{path.stem}: process {holder.pid} on {holder.host} has been at it since {holder.since}.",
                f"Wait for it; if it is not running any more, remove {path}.",
            )
    raise CannotCreateOutput(f"{path}: changes all the time; several runs start at once.", "Run again.")


def _is_silent(path: Path, holder: Holder, me: Holder) -> bool:
    """Whether a holder that cannot be looked up from here gives no sign of life.

    Returns when it is known: at the next sign, or when there has been none for `SILENT_SECONDS`.
    """
    if _can_be_looked_up(holder, me):
        return False
    seen = _modified(path)
    if seen is None:
        return False
    end = time.monotonic() + SILENT_SECONDS - (_now_of(path.parent) - seen)
    while _modified(path) == seen and _read(path) == holder:
        if time.monotonic() > end:
            return True
        time.sleep(LOOK_SECONDS)
    return False


def _beat(path: Path, mine: Holder, stop: threading.Event) -> None:
    """Show that the holder lives until told to stop; end the process if the lock was taken from it."""
    while not stop.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError, CannotCreateOutput, InputOutputFailed):
            holder = _read(path)
            if holder == mine:
                os.utime(path)
            elif not stop.is_set() and (holder is not None or not _create(path, mine)):
                # This process was stopped for so long that another one took it for dead.
                log.error("%s: taken over by process %s", path, holder.pid if holder else "?")
                os.kill(os.getpid(), signal.SIGTERM)
                return


def _modified(path: Path) -> float | None:
    try:
        # Opened, because network file systems check their cache only then.
        with path.open() as stream:
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None


def _now_of(folder: Path) -> float:
    """Return the time by the clock that stamps the files of a folder, which may be a server's."""
    probe = folder / f".clock.{secrets.token_hex(8)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


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
        # Being written by a host without hard links, or torn by a crash.
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
    """Whether a holder is known not to run any more."""
    if (holder.host, holder.machine) == (me.host, me.machine) and holder.boot != me.boot:
        return bool(holder.machine)
    return _can_be_looked_up(holder, me) and _start_of(holder.pid) != holder.started


def _can_be_looked_up(holder: Holder, me: Holder) -> bool:
    """Whether a holder's process would be seen from here: same host, boot and namespace of processes."""
    here = (holder.host, holder.machine, holder.boot, holder.namespace)
    return here == (me.host, me.machine, me.boot, me.namespace) and bool(holder.started)


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
