"""What can happen to a run: kinds of faults, and what each of them needs of the machine."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

OPTIONS = ("--preset", "fast", "--segmentation", "none", "--skip-bids-validation", "--n-cpus", "2")
CLEAN_END_SECONDS = 30.0
GROUPS = Path("/sys/fs/cgroup")
MEGABYTE = 2**20
# ours, and the words of the operating system where nipype writes
FULL = ("disk or quota is full", "No space left on device", "Disk quota exceeded")


class Impossible(Exception):
    """This machine does not let this kind of fault happen."""


@dataclass
class Study:
    """One dataset, and what an undisturbed run makes of it in how many seconds."""

    raw: Path
    expected: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    megabytes: float = 0.0
    steps: int = 0


@dataclass
class Place:
    """Where the runs of one kind of fault write."""

    folder: Path
    raw: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "qsmxt_app", str(self.raw), str(self.out), "participant"]
        return [*command, *OPTIONS, "--work-dir", str(self.work)]

    def start(self, prefix: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> subprocess.Popen:
        """Start the run in a session of its own, so that all its processes can be hit at once."""
        return subprocess.Popen(
            [*prefix, *self.command(), *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def finished_steps(self) -> set[str]:
        """Steps with the mark of a finished one."""
        marks = self.work.rglob("_0x*.json") if self.work.exists() else ()
        return {mark.parent.name for mark in marks if not mark.name.endswith("_unfinished.json")}

    def logs(self) -> set[Path]:
        """Logs of all runs."""
        return set((self.out / "logs").glob("*/qsmxt.log"))

    def executed_steps(self, before: set[Path]) -> list[str]:
        """Steps that runs executed since there were these logs."""
        text = "".join(path.read_text(errors="replace") for path in self.logs() - before)
        return [line.split('"')[1] for line in text.splitlines() if '[Node] Executing "' in line]


@dataclass
class Hit:
    """What happened to one run."""

    kind: str
    after: float
    code: int
    seconds: float
    faults: list[str] = field(default_factory=list)

    @property
    def landed(self) -> bool:
        """Whether the run did not come to its end before it was hit."""
        return self.code != 0

    @property
    def text(self) -> str:
        found = "; ".join(self.faults) or ("as it should be" if self.landed else "it had ended")
        return f"{self.kind} after {self.after:5.1f} s: exit {self.code} {self.seconds:.1f} s later, {found}"


def _moment(study: Study, place: Place, rng: random.Random) -> float:
    """Return a moment of what the run still has to do."""
    done = len(place.finished_steps()) / max(1, study.steps)
    return rng.uniform(0.0, study.seconds * (1 - 0.6 * min(1.0, done)))


def _wait(process: subprocess.Popen, seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _signalled(kind: str, study: Study, place: Place, rng: random.Random, act: Callable) -> Hit:
    """Start a run, do something to it at a random moment, and see how it ends."""
    after = _moment(study, place, rng)
    with place.start() as process:
        _wait(process, after)
        faults = [] if process.poll() is not None else (act(process) or [])
        sent = time.monotonic()
        _, told = process.communicate()
    if "Traceback" in told:
        faults.append(f"traceback on the terminal: {told[-300:]}")
    return Hit(kind, after, process.returncode, time.monotonic() - sent, faults)


def _kill(study: Study, place: Place, rng: random.Random) -> Hit:
    """SIGKILL for all processes of the run at once."""
    return _signalled("kill", study, place, rng, lambda process: os.killpg(process.pid, signal.SIGKILL))


def _kill_main(study: Study, place: Place, rng: random.Random) -> Hit:
    """SIGKILL for the main process: its workers must not go on."""

    def act(process: subprocess.Popen) -> list[str]:
        process.kill()
        process.wait()
        end = time.monotonic() + CLEAN_END_SECONDS
        while _members(process.pid):
            if time.monotonic() > end:
                return [f"workers live on: {_members(process.pid)}"]
            time.sleep(0.1)
        return []

    return _signalled("kill-main", study, place, rng, act)


def _terminate(study: Study, place: Place, rng: random.Random) -> Hit:
    """SIGTERM: a clean end within seconds."""
    hit = _signalled("terminate", study, place, rng, lambda process: process.terminate())
    if hit.seconds > CLEAN_END_SECONDS:
        hit.faults.append("no clean end within seconds")
    if hit.code not in (0, 143, -signal.SIGTERM):
        hit.faults.append(f"exit code {hit.code}")
    if any(place.folder.rglob(".locks/*.lock")):
        hit.faults.append("a lock is left")
    return hit


def _walltime(study: Study, place: Place, rng: random.Random) -> Hit:
    """As a scheduler does it: SIGTERM for all, and SIGKILL soon after."""

    def act(process: subprocess.Popen) -> None:
        os.killpg(process.pid, signal.SIGTERM)
        _wait(process, rng.uniform(0.0, 1.0))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    return _signalled("walltime", study, place, rng, act)


def _kill_worker(study: Study, place: Place, rng: random.Random) -> Hit:
    """SIGKILL for the largest worker, as the kernel does it; the run goes on and names the step."""

    def act(process: subprocess.Popen) -> None:
        # workers are children of a server that the main process started
        while process.poll() is None:
            members = _members(process.pid)
            workers = [
                pid for pid, parent in members.items() if parent in members and members[parent] in members
            ]
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(max(workers, key=_resident), signal.SIGKILL)
                return
            time.sleep(0.05)

    return _signalled("kill-worker", study, place, rng, act)


def _out_of_memory(study: Study, place: Place, rng: random.Random) -> Hit:
    """The kernel kills what it likes when the control group of the run is full."""
    group = _memory_group(place)

    def act(process: subprocess.Popen) -> None:
        usage = int((group / "memory.usage_in_bytes").read_text())
        for room in (1.01, 1.05, 1.1, 1.3):
            try:
                (group / "memory.limit_in_bytes").write_text(str(int(usage * room)))
                return
            except OSError:
                continue

    (group / "memory.limit_in_bytes").write_text("-1")
    prefix = ("bash", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "bash")
    after = _moment(study, place, rng)
    with place.start(prefix) as process:
        _wait(process, after)
        if process.poll() is None:
            act(process)
        sent = time.monotonic()
        _wait(process, 4 * study.seconds)
        faults = [] if process.poll() is not None else ["hangs when it has no memory"]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return Hit("out-of-memory", after, process.returncode, time.monotonic() - sent, faults)


def _power(study: Study, place: Place, rng: random.Random) -> Hit:
    """All processes vanish, and with them what had not reached the disk: unsynchronised files are torn."""
    hit = _kill(study, place, rng)
    hit.kind = "power"
    # results and marks of nipype are written without fsync; outputs of the step that runs are too
    marks = [mark for mark in place.work.rglob("_0x*.json") if not mark.name.endswith("_unfinished.json")]
    newest = sorted(marks, key=lambda path: path.stat().st_mtime_ns)[-2:]
    for mark in newest:
        for path in mark.parent.glob("result_*.pklz"):
            os.truncate(path, rng.choice([0, path.stat().st_size // 2]))
        if rng.random() < 0.5:
            os.truncate(mark, 0)
    for mark in place.work.rglob("_0x*_unfinished.json"):
        for path in mark.parent.glob("*.nii"):
            os.truncate(path, rng.randrange(path.stat().st_size + 1))
    for lock in place.folder.rglob(".locks/*.lock"):
        os.truncate(lock, rng.choice([0, 20]))
        os.utime(lock, (1, 1))  # the machine was off for a while
    return hit


def _full(kind: str, place: Place, prefix: tuple[str, ...] = ()) -> Hit:
    """A run that cannot write any more somewhere on its way."""
    started = time.monotonic()
    with place.start(prefix) as process:
        _, told = process.communicate()
    faults = []
    if process.returncode and not any(words in told for words in FULL):
        faults.append(f"does not say that the disk is full: {told.strip()[-300:]}")
    if "Traceback" in told:
        faults.append(f"traceback on the terminal: {told[-300:]}")
    return Hit(kind, 0.0, process.returncode, time.monotonic() - started, faults)


def _full_disk(study: Study, place: Place, rng: random.Random) -> Hit:
    """A disk that is full at some point, and has a little more room the next time."""
    used = sum(path.stat().st_size for path in place.folder.rglob("*") if path.is_file())
    _resize(place, used + rng.uniform(0.02, 0.4) * study.megabytes * MEGABYTE)
    return _full("full-disk", place)


def _quota(study: Study, place: Place, rng: random.Random) -> Hit:
    """Every process may write some bytes; then the quota is exceeded."""
    library = place.folder / "quota.so"
    most = int(rng.uniform(0.003, 0.12) * study.megabytes * MEGABYTE)
    return _full("quota", place, ("env", f"LD_PRELOAD={library}", f"QSMXT_QUOTA={most}"))


# counts what the process writes to regular files
QUOTA = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
static long written;
ssize_t write(int descriptor, const void *buffer, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    struct stat status;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    const char *most = getenv("QSMXT_QUOTA");
    if (most && !fstat(descriptor, &status) && S_ISREG(status.st_mode)) {
        if (written + (long)count > atol(most)) { errno = EDQUOT; return -1; }
        written += count;
    }
    return real(descriptor, buffer, count);
}
"""


@contextlib.contextmanager
def _quota_library(place: Place) -> Iterator[None]:
    if shutil.which("cc") is None:
        raise Impossible("quota: no C compiler")
    place.folder.mkdir(parents=True, exist_ok=True)
    source = place.folder / "quota.c"
    source.write_text(QUOTA)
    command = ["cc", "-shared", "-fPIC", "-o", str(place.folder / "quota.so"), str(source), "-ldl"]
    subprocess.run(command, check=True)
    yield


@contextlib.contextmanager
def _small_disk(place: Place) -> Iterator[None]:
    place.folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "qsmxt-faults", str(place.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"full-disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place.folder)], check=True)


def _resize(place: Place, size: float) -> None:
    subprocess.run(["mount", "-o", f"remount,size={int(size)}", str(place.folder)], check=True)


def _relieve_disk(place: Place) -> None:
    _resize(place, 500 * MEGABYTE)


@contextlib.contextmanager
def _limited_group(place: Place) -> Iterator[None]:
    group = _memory_group(place)
    try:
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text("-1")
    except OSError as error:
        raise Impossible(f"out-of-memory: {error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _memory_group(place: Place) -> Path:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line.split(":", 2)[2] for line in lines if ":memory:" in line), None)
    if own is None or not (GROUPS / "memory").is_dir():
        raise Impossible("out-of-memory: no memory controller of version 1")
    return GROUPS / "memory" / own.lstrip("/") / "qsmxt-faults"


def _members(session: int) -> dict[int, int]:
    """Processes of a session, and their parents."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = path.read_text().rpartition(")")[2].split()
            if int(words[3]) == session and words[0] != "Z":
                found[int(path.parent.name)] = int(words[1])
    return found


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0


HITS: dict[str, Callable[[Study, Place, random.Random], Hit]] = {
    "kill": _kill,
    "kill-main": _kill_main,
    "terminate": _terminate,
    "walltime": _walltime,
    "kill-worker": _kill_worker,
    "out-of-memory": _out_of_memory,
    "power": _power,
    "full-disk": _full_disk,
    "quota": _quota,
}
PLACES: dict[str, Callable] = {
    "full-disk": _small_disk,
    "quota": _quota_library,
    "out-of-memory": _limited_group,
}
RELIEF: dict[str, Callable[[Place], None]] = {"full-disk": _relieve_disk}
