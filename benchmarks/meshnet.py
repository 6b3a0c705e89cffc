"""How well and how fast the network of `--segmentation meshnet` labels a whole head, and in how much memory.

    python benchmarks/meshnet.py                       # ../shared/data/labelled-t1w against FreeSurfer
    python benchmarks/meshnet.py --threads 2

Dice of each region stands beside what the network reached there elsewhere, on all 256^3 voxels.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.registration import Image, apply
from qsmxt_app.segment.network import label_by_network
from qsmxt_app.segment.network_files import load_network
from qsmxt_app.workflows.resources import limited_threads

# FreeSurfer's numbers, and the Dice of the network's own implementation
REGIONS = {
    "thalamus": ((10, 49), 0.87),
    "caudate": ((11, 50), 0.87),
    "putamen": ((12, 51), 0.85),
    "pallidum": ((13, 52), 0.69),
    "hippocampus": ((17, 53), 0.80),
    "brainstem": ((16,), 0.92),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("QSMXT_TEST_DATA", usual)))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    image = nib.load(given.data / "labelled-t1w" / "norm.mgz")
    truth = np.asarray(nib.load(given.data / "labelled-t1w" / "aparc.a2009s+aseg.mgz").dataobj)
    t1w = Image(np.asarray(image.dataobj, np.float32), image.affine)
    with limited_threads(given.threads):
        wall, cpu, before = time.perf_counter(), time.process_time(), _peak_mb()
        labels, regions = label_by_network(
            t1w,
            t1w.array > 0,
            load_network(given.data / "meshnet" / "weights" / "subcortical-30ch"),
            threads=given.threads,
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{' x '.join(map(str, labels.array.shape))} voxels, {given.threads} threads")
    print(f"{wall:.0f} s, {cpu:.0f} s of the processor, {_peak_mb():.0f} MB at most ({before:.0f} MB before)")
    found = np.rint(apply(labels, t1w.grid, interpolation="nearest").array).astype(int)
    print("Dice against FreeSurfer   elsewhere    here")
    for name, (numbers, known) in REGIONS.items():
        true = np.isin(truth, numbers)
        ours = np.isin(found, [region.index for region in regions if region.name == name])
        dice = 2 * np.count_nonzero(true & ours) / (true.sum() + ours.sum())
        print(f"  {name:24s} {known:8.2f} {dice:7.3f}")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
