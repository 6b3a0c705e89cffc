"""Peak memory of the group level for 6 and for 12 digital people, by the real command.

    python benchmarks/group_memory.py [--folder DIR]

People are coarse and the template is fine, so that what grows with participants would be seen. Memory is
that of the largest step, of the main process, and of all processes of the run at one moment, in which what
they share is counted once (PSS).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.group_study import arguments, people, prepare
from benchmarks.limits import watch


def measure(folder: Path, count: int, resolution: float) -> None:
    """Run the group level with some of the people, and print what it needed."""
    options = ["--participant-label", *people(folder)[:count]]
    options += ["--template-resolution", str(resolution), "--template-rounds", "1", "--n-cpus", "2"]
    options += ["--template-name", f"of{count}", "--work-dir", str(folder / f"work-{count}")]
    seen = watch(process := subprocess.Popen(arguments("group", folder, *options)), 2)
    if process.returncode:
        raise SystemExit(f"qsmxt group failed: see {folder / 'out' / 'logs'}")
    record = json.loads((folder / "out" / "figures" / "group_desc-qsm_record.json").read_text())
    steps, template = record["memory_mb"], record["template"]
    largest = max(steps, key=steps.get)
    shape = "x".join(str(n) for n in template["shape"])
    print(
        f"{len(template['participants']):3} participants, template {shape}: largest step ({largest}) "
        f"{steps[largest]:.0f} MB, update {steps['update']:.0f} MB, "
        f"main process {seen.main_peak_gb * 1000:.0f} MB, all at once {seen.peak_gb * 1000:.0f} MB",
        flush=True,
    )


def main() -> None:
    """Print one line for each number of people."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, nargs="+", default=[6, 12])
    parser.add_argument("--voxel-size", type=float, default=4.0, help="of the people, mm")
    parser.add_argument("--resolution", type=float, default=1.5, help="of the template, mm")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep everything here, and go on from there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        prepare(folder, max(args.people), args.voxel_size, args.seed)
        for count in args.people:
            measure(folder, count, args.resolution)


if __name__ == "__main__":
    main()
