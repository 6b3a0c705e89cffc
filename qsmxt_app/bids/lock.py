"""One run at a time on a participant's outputs: leases of filelock, with messages for people.

A lease is a file that its holder touches while it runs. One whose process died is taken over: at once where
the process would be seen from here, and after `SILENT_SECONDS` without a sign of life where it ran on another
host or in another container.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import LeaseCompromise, LeaseSettingsMismatch, OwnerRecord, SoftFileLease, Timeout

from qsmxt_app.bids.atomic import make_folder, output_error
from qsmxt_app.bids.entities import without_prefix
from qsmxt_app.errors import CannotCreateOutput

FOLDER = ".locks"
BEAT_SECONDS = 15.0
"""How often a holder shows that it lives, by the time of its file."""
SILENT_SECONDS = 120.0
"""After how long without a sign a holder that cannot be looked up (another host or container) is dead."""
LOOK_SECONDS = 0.5
PROBE_BYTES = 512
"""More than a lease takes."""

log = logging.getLogger("qsmxt")


class Held(CannotCreateOutput):
    """Another process holds the lock."""


@contextlib.contextmanager
def participant_lock(out: Path, label: str) -> Iterator[None]:
    """Hold a participant's outputs for this process while the block runs.

    Parameters
    ----------
    out
        The derivative's folder; the lock is a file in its ``.locks/``.
    label
        The participant, with or without ``sub-``.

    Raises
    ------
    Held
        If another process holds the lock, with its host, process and last sign of life.
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
    make_folder(path.parent)
    lease = SoftFileLease(
        path,
        lease_duration=SILENT_SECONDS,
        heartbeat_interval=BEAT_SECONDS,
        on_compromise=_end_if_taken_over,
        thread_local=False,
    )
    try:
        _acquire(lease, path, time.monotonic() + patience)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lease.release()


def _acquire(lease: SoftFileLease, path: Path, until: float) -> None:
    first, probed = _last_sign(path), False
    # by then, filelock has taken over from a holder without a sign of life
    judged = time.monotonic() + SILENT_SECONDS + 4 * LOOK_SECONDS
    while True:
        with contextlib.suppress(Timeout, LeaseSettingsMismatch):
            lease.acquire(blocking=False)
            return
        owner, sign = lease.owner, _last_sign(path)
        if owner is None and not probed:
            _check_writable(path.parent)
            _fill_if_empty(path)
            first, probed = _last_sign(path), True
            continue
        alive = time.monotonic() > judged or (owner is not None and _runs_here(owner))
        if (alive or (sign and sign != first)) and time.monotonic() >= until:
            raise _held(path, owner, sign)
        first = first or sign
        time.sleep(LOOK_SECONDS)


def _check_writable(folder: Path) -> None:
    """Raise the error of a full disk or quota, which filelock takes for a lock that another process holds."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
        probe.write(b"." * PROBE_BYTES)


def _fill_if_empty(path: Path) -> None:
    """Write a character into a lock that a power loss or a full disk left empty.

    filelock never takes over an empty lock, as old versions of it left theirs empty, but any other without an
    owner after two seconds. A holder that is about to write overwrites the character.
    """
    with contextlib.suppress(FileNotFoundError), path.open("r+b", buffering=0) as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            stream.write(b"?")


def _held(path: Path, owner: OwnerRecord | None, sign: float | None) -> Held:
    host = owner.hostname.partition("?")[0] if owner else "an unknown host"
    seen = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(sign))
    return Held(
        f"{path.stem}: in use by process {owner.pid if owner else '?'} on {host}, last active {seen}.",
        f"Wait for it; if it is not running any more, remove {path}.",
    )


def _last_sign(path: Path) -> float | None:
    try:
        # Opened, because network file systems check their cache only then.
        with path.open() as stream:
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None


def _runs_here(owner: OwnerRecord) -> bool:
    """Whether a holder is a process of this machine, by its number, its start and the boot of the machine."""
    try:
        boot = int(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""), 16)
        # The name in parentheses may hold spaces; the start is the 22nd field, the 20th after it.
        start = int(Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return False
    return owner.start == (boot << 64) | start


def _end_if_taken_over(loss: LeaseCompromise) -> None:
    """End this process if another one took it for dead, because it was stopped for long, and goes on."""
    log.error("%s: lost (%s)", loss.lock_file, loss.reason)
    if loss.reason == "owner-changed":
        os.kill(os.getpid(), signal.SIGTERM)
