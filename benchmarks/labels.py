"""What labels cost: each step of one participant with a T1w and five echoes, and the whole command.

    python benchmarks/labels.py                          # 1 mm
    python benchmarks/labels.py --voxel-size 2           # about the README's demo
    python benchmarks/labels.py --dataset raw/           # first participant of a dataset on disk

Runs the real command with labels, once more with nothing to do, and with `--segmentation none`, and prints
seconds on the clock and of the processor. On a machine that does other work only the latter mean anything.
`--first-run` keeps compiled kernels in a folder of its own, so that the first command compiles them all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.steps import write_head


def run(raw: Path, out: Path, options: list[str], cache: Path | None) -> tuple[float, float]:
    """Run the command: seconds on the clock, and of the processor, of itself and of the steps that it ran."""
    command = [sys.executable, "-m", "qsmxt_app", str(raw), str(out), "participant"]
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": str(cache)} if cache else {})}
    before, start, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), time.time()
    work = out / "work"
    subprocess.run(
        [*command, "--skip-bids-validation", "--quiet", "--work-dir", str(work), *options],
        check=True,
        env=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # steps run in processes that are no children of the command
    ran = [path for path in work.rglob("facts.json") if path.stat().st_mtime > began]
    return time.perf_counter() - start, worked + sum(_facts(path)["processor_seconds"] for path in ran)


def _facts(path: Path) -> dict[str, float]:
    return json.loads(path.read_text(encoding="utf-8"))


def print_steps(work: Path) -> None:
    """Print what every step took, in the order in which they ended."""
    found = sorted(work.rglob("facts.json"), key=lambda path: path.stat().st_mtime_ns)
    print(f"{'step':22} {'s':>7} {'processor s':>12} {'peak MB':>8}")
    for path in found:
        facts = _facts(path)
        print(
            f"{path.parent.name:22} {facts['seconds']:7.1f} {facts['processor_seconds']:12.1f} "
            f"{facts['peak_mb']:8.0f}"
        )


def main() -> None:
    """Print the table and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--dataset", type=Path, help="process this dataset instead of a simulated head")
    parser.add_argument("--first-run", action="store_true", help="with compilation")
    parser.add_argument("options", nargs="*", help="more options of qsmxt, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = args.dataset or write_head(folder / "raw", args.voxel_size, args.seed)
        cache = folder / "compiled" if args.first_run else None
        if not args.first_run:
            run(write_head(folder / "small", 4.0, args.seed), folder / "small-out", args.options, None)
        labelled = run(raw, folder / "out", args.options, cache)
        print_steps(folder / "out" / "work")
        idle = run(raw, folder / "out", args.options, cache)
        plain = run(raw, folder / "plain", ["--segmentation", "none", *args.options], cache)
    for what, (wall, worked) in (
        ("whole command", labelled),
        ("nothing to do", idle),
        ("without labels", plain),
    ):
        print(f"{what:22} {wall:7.1f} {worked:12.1f}")
    print(f"{'ratio':22} {labelled[0] / plain[0]:7.2f} {labelled[1] / plain[1]:12.2f}")


if __name__ == "__main__":
    main()
