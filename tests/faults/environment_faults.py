"""Faults of the machine around a run: too few processes, a disk that turns read-only, a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fault_kinds import GROUPS, MEGABYTE, Hit, Impossible, Place, Study

PROCESSES = (4, 30)
"""Fewest and most processes and threads: the fewest let Python start, with the most a run ends."""
PATIENCE = 4.0
"""Times the seconds of an undisturbed run after which a run hangs."""

READ_ONLY = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
static long written;
static int spent(void) {
    const char *most = getenv("QSMXT_WRITABLE");
    return most && written > atol(most);
}
ssize_t write(int descriptor, const void *buffer, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    struct stat status;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (!fstat(descriptor, &status) && S_ISREG(status.st_mode)) {
        if (spent()) { errno = EROFS; return -1; }
        written += count;
    }
    return real(descriptor, buffer, count);
}
int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    if (!real) real = dlsym(RTLD_NEXT, "open64");
    if (spent() && (flags & (O_CREAT | O_WRONLY | O_RDWR))) { errno = EROFS; return -1; }
    return real(path, flags, mode);
}
"""

# a day ahead, then a day behind, every few seconds; monotonic clocks and the times of files stay right
CLOCK = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *when) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, when);
    if (clock == CLOCK_REALTIME) when->tv_sec += (when->tv_sec / 3 % 3 - 1) * 86400;
    return code;
}
"""


def _ended(kind: str, study: Study, place: Place, prefix: tuple[str, ...], words: tuple[str, ...]) -> Hit:
    """Start a run that should end by itself, and say why if it fails."""
    started = time.monotonic()
    faults = []
    with place.start(prefix) as process:
        try:
            _, told = process.communicate(timeout=60 + PATIENCE * study.seconds)
        except subprocess.TimeoutExpired:
            faults.append("hangs")
            os.killpg(process.pid, signal.SIGKILL)
            _, told = process.communicate()
    if process.returncode and not faults and not any(word in told for word in words):
        faults.append(f"does not say why: {told.strip()[-300:]}")
    if "Traceback" in told or "unexpected" in told.replace("unexpected EOF", ""):
        faults.append(f"traceback or unexpected error on the terminal: {told[-300:]}")
    return Hit(kind, 0.0, process.returncode, time.monotonic() - started, faults)


def _few_processes(study: Study, place: Place, rng: random.Random) -> Hit:
    """A limit on processes and threads, as by `ulimit -u`, which does not bind root."""
    group = _process_group()
    (group / "pids.max").write_text(str(rng.randint(*PROCESSES)))
    prefix = ("bash", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "bash")
    return _ended("few-processes", study, place, prefix, ("allow more processes and threads",))


def _read_only(study: Study, place: Place, rng: random.Random) -> Hit:
    """A disk that turns read-only after each process has written some bytes."""
    most = int(rng.uniform(0.003, 0.12) * study.megabytes * MEGABYTE)
    prefix = ("env", f"LD_PRELOAD={place.folder / 'read-only.so'}", f"QSMXT_WRITABLE={most}")
    return _ended("read-only", study, place, prefix, ("Read-only file system", "read-only"))


def _clock(study: Study, place: Place, rng: random.Random) -> Hit:
    """A clock that jumps by a day every few seconds: the run must not notice."""
    hit = _ended("clock", study, place, ("env", f"LD_PRELOAD={place.folder / 'clock.so'}"), ())
    if hit.code:
        hit.faults.append("a clock that jumps ends the run")
    return hit


def _process_group() -> Path:
    return GROUPS / "pids" / "qsmxt-faults"


@contextlib.contextmanager
def _limited_processes(place: Place) -> Iterator[None]:
    group = _process_group()
    try:
        group.mkdir(exist_ok=True)
        (group / "pids.max").write_text("max")
    except OSError as error:
        raise Impossible(f"few-processes: {error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _library(name: str, source: str) -> Callable:
    @contextlib.contextmanager
    def compiled(place: Place) -> Iterator[None]:
        if shutil.which("cc") is None:
            raise Impossible(f"{name}: no C compiler")
        place.folder.mkdir(parents=True, exist_ok=True)
        file = place.folder / f"{name}.c"
        file.write_text(source)
        command = ["cc", "-shared", "-fPIC", "-o", str(file.with_suffix(".so")), str(file), "-ldl"]
        subprocess.run(command, check=True)
        yield

    return compiled


HITS: dict[str, Callable[[Study, Place, random.Random], Hit]] = {
    "few-processes": _few_processes,
    "read-only": _read_only,
    "clock": _clock,
}
PLACES: dict[str, Callable] = {
    "few-processes": _limited_processes,
    "read-only": _library("read-only", READ_ONLY),
    "clock": _library("clock", CLOCK),
}
