"""Seconds and memory of every step of the command, from raw phase to maps.

    python benchmarks/steps.py                       # simulated head, 1 mm, 5 echoes, preset gre
    python benchmarks/steps.py --voxel-size 2 --preset fast
    python benchmarks/steps.py --dataset raw/        # first scan of a dataset on disk

Runs the real command once to compile, on a head of 4 mm, and then on the data; prints its own record.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.simulate import Protocol
from qsmxt_app.simulate.dataset import write_dataset

BESIDE_TGV = {"prepare", "masks", "field", "background", "inversion", "inversion_reliable", "combine"}


def write_head(folder: Path, voxel_size: float, seed: int) -> Path:
    """Write a simulated head of 5 echoes."""
    times = tuple(0.005 * (1 + i) for i in range(5))
    write_dataset(
        folder, seed=seed, protocol=Protocol(voxel_size=(voxel_size,) * 3, echo_times=times, snr=80)
    )
    return folder


def run(raw: Path, out: Path, options: list[str]) -> tuple[dict[str, Any], float]:
    """Run the command; return the record of its first scan and the seconds on the clock."""
    command = [sys.executable, "-m", "qsmxt_app", str(raw), str(out), "participant"]
    start = time.perf_counter()
    subprocess.run([*command, "--skip-bids-validation", "--quiet", *options], check=True)
    seconds = time.perf_counter() - start
    return json.loads(sorted(out.glob("sub-*/figures/*_record.json"))[0].read_text()), seconds


def seconds_to_chi(timings: Mapping[str, float]) -> float:
    """Return the seconds from raw phase to chi; both passes of TGV run side by side."""
    longest = max(timings.get("tgv", 0.0), timings.get("tgv_reliable", 0.0))
    return longest + sum(seconds for step, seconds in timings.items() if step in BESIDE_TGV)


def main() -> None:
    """Print one line for every step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--preset", default="gre")
    parser.add_argument("--dataset", type=Path, help="process this dataset instead of a simulated head")
    parser.add_argument("options", nargs="*", help="more options of qsmxt, after --")
    args = parser.parse_args()
    options = ["--preset", args.preset, *args.options]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(write_head(folder / "small", 4.0, args.seed), folder / "small-out", options)
        raw = args.dataset or write_head(folder / "raw", args.voxel_size, args.seed)
        record, seconds = run(raw, folder / "out", options)
    inputs = record["inputs"]
    print(f"{inputs['shape']} voxels, {len(inputs['echo_times'])} echoes, preset {args.preset}")
    print(f"{'step':18} {'s':>7} {'peak MB':>8}")
    for step, spent in record["timings"].items():
        print(f"{step:18} {spent:7.1f} {record['memory_mb'][step]:8.0f}")
    total, peak = sum(record["timings"].values()), max(record["memory_mb"].values())
    print(f"{'all steps':18} {total:7.1f} {peak:8.0f}")
    print(f"{'raw phase to chi':18} {seconds_to_chi(record['timings']):7.1f}")
    print(f"{'command':18} {seconds:7.1f}   from start to end, report included")
    passes = [record[name]["iterations"] for name in ("inversion", "inversion_reliable")]
    inversions = [iterations for iterations in passes if iterations]
    print(f"iterations of TGV  {' and '.join(map(str, inversions))}")


if __name__ == "__main__":
    main()
