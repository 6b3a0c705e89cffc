"""Whether a run keeps to `--n-cpus` and `--mem-gb`, seen from outside: all its processes, in /proc.

    python benchmarks/limits.py --n-cpus 2 --mem-gb 8 BIDS_DIR OUTPUT_DIR participant [options of qsmxt]
    python benchmarks/limits.py --n-cpus 2 --mem-gb 8 BIDS_DIR OUTPUT_DIR group

Threads that run or wait for a core are counted over all processes of the run some fifty times a second. The
main process, which only hands out work, is counted by itself. Memory is the proportional share (PSS), in
which what processes share is counted once. The exit code is that of the run, or 1 where a limit did not hold.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
RUNNING = "R"
EVERY_SECONDS, MEMORY_EVERY = 0.02, 10
RARE = 0.01
"""Share of the moments in which a thread that just ends may still be counted."""


@dataclass
class Snapshot:
    """What was seen of a run: moments by busy threads, processor time of each process, peaks of memory."""

    busy: collections.Counter[int] = field(default_factory=collections.Counter)
    names: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: dict[int, float] = field(default_factory=dict)
    peak_gb: float = 0.0
    main_peak_gb: float = 0.0


def watch(main: subprocess.Popen[bytes], n_cpus: int) -> Snapshot:
    """Look at a process and its descendants until it ends."""
    seen, moment = Snapshot(), 0
    while main.poll() is None:
        busy = {pid: _busy_threads(pid) for pid in _descendants(main.pid)}
        seen.seconds |= {pid: _seconds(pid) or seen.seconds.get(pid, 0.0) for pid in (main.pid, *busy)}
        count = sum(busy.values())
        seen.busy[count] += 1
        if count > n_cpus:
            seen.names[" + ".join(f"{_name(pid)} x{n}" for pid, n in busy.items() if n)] += 1
        if moment % MEMORY_EVERY == 0:
            own = _pss_gb(main.pid)
            seen.main_peak_gb = max(seen.main_peak_gb, own)
            seen.peak_gb = max(seen.peak_gb, own + sum(map(_pss_gb, busy)))
        moment += 1
        time.sleep(EVERY_SECONDS)
    return seen


def _descendants(root: int) -> list[int]:
    children = collections.defaultdict(list)
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (fields := _fields(folder / "stat")):
            children[int(fields[1])].append(int(folder.name))
    found, waiting = [], list(children[root])
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return found


def _busy_threads(pid: int) -> int:
    try:
        threads = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return 0
    return sum(_fields(thread / "stat")[:1] == [RUNNING] for thread in threads)


def _fields(stat: Path) -> list[str]:
    """What follows the name of a process, which may hold anything: state, parent, ..."""
    try:
        return stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _seconds(pid: int) -> float:
    return sum(map(int, _fields(PROC / str(pid) / "stat")[11:13])) / os.sysconf("SC_CLK_TCK")


def _name(pid: int) -> str:
    """Name of a program and its current folder, which is that of the step."""
    process = PROC / str(pid)
    try:
        return f"{(process / 'comm').read_text().strip()} in {(process / 'cwd').readlink().name}"
    except OSError:
        return "ended"


def _pss_gb(pid: int) -> float:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e9


def main() -> int:
    """Run, watch, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-cpus", type=int, required=True)
    parser.add_argument("--mem-gb", type=float, required=True)
    given, others = parser.parse_known_args()
    command = [str(Path(sys.executable).with_name("qsmxt")), *others]
    command += ["--n-cpus", str(given.n_cpus), "--mem-gb", str(given.mem_gb)]
    start = time.perf_counter()
    run = subprocess.Popen(command)
    seen = watch(run, given.n_cpus)
    wall, used = time.perf_counter() - start, sum(seen.seconds.values())
    moments = sum(seen.busy.values())
    above = sum(count for threads, count in seen.busy.items() if threads > given.n_cpus) / moments
    print(
        f"{wall:.0f} s by the clock, {used:.0f} s of the processor: {used / wall:.2f} cores of {given.n_cpus}"
    )
    for threads, count in sorted(seen.busy.items()):
        print(f"  {threads:3d} busy threads: {count / moments:7.2%} of {moments} moments")
    for names, count in seen.names.most_common(5):
        print(f"    {count} moments: {names}")
    print(f"{seen.peak_gb:.2f} GB at most of {given.mem_gb:g}")
    held = above < RARE and seen.peak_gb <= given.mem_gb
    print("The limits held." if held else f"The limits did not hold: {above:.1%} of the moments.")
    return run.returncode or int(not held)


if __name__ == "__main__":
    sys.exit(main())
