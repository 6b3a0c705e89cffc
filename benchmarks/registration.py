"""Time and overlap of the two deformable registrations, `--registration greedy` and `syn`, on the same pairs.

    python benchmarks/registration.py --seeds 101 102 103 --voxel-size 2

The built-in atlas is registered to simulated T1w images from the same affine transform. Dice is that of
labels that are only resampled, without tissue classes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.registration import Image, resample_labels
from qsmxt_app.registration.deformable import METHODS
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_loading import load_atlas
from qsmxt_app.segment.labelling import atlas_to_t1w
from qsmxt_app.segment.prepare import prepare_t1w
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.person import make_person
from qsmxt_app.simulate.structural import simulate_t1w
from qsmxt_app.simulate.tissues import LABELS

REGIONS = (
    "thalamus", "caudate", "putamen", "globus-pallidus-external", "hippocampus", "amygdala", "accumbens",
    "red-nucleus", "substantia-nigra", "dentate-nucleus",
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--voxel-size", type=float, default=2.0)
    given = parser.parse_args()
    atlas = load_atlas("qsmxt")
    found = {method: [] for method in METHODS}
    for seed in given.seeds:
        scan = simulate_t1w(seed, 1, voxel_size=given.voxel_size)
        t1w, truth = Image(scan.image, scan.affine), true_tissue(seed, scan)
        prepared = prepare_t1w(t1w, atlas)
        for method in METHODS:
            wall, cpu = time.perf_counter(), time.process_time()
            transform = atlas_to_t1w(atlas, prepared, method=method)
            seconds = time.perf_counter() - wall, time.process_time() - cpu
            labels = resample_labels(atlas.labels, t1w.grid, transform).labels.array
            found[method].append([*seconds, *(dice(atlas, labels, truth, name) for name in REGIONS)])
            print(f"seed {seed}, {method}: {seconds[0]:.0f} s, {seconds[1]:.0f} s of CPU", flush=True)
    means = {method: np.mean(rows, axis=0) for method, rows in found.items()}
    print(f"mean of {len(given.seeds)} at {given.voxel_size:g} mm   " + "  ".join(METHODS))
    for place, name in enumerate(("seconds", "seconds of CPU", *REGIONS)):
        print(f"  {name:28s}" + "  ".join(f"{row[place]:6.2f}" for row in means.values()))


def true_tissue(seed: int, scan: object) -> np.ndarray:
    """Tissue of the person on the grid of the scan, where the head then lay."""
    still = np.linalg.inv(scan.motion) @ scan.affine
    return sample_anatomy(make_person(seed, 1), still[:3, 3], still[:3, :3], scan.image.shape)[0]


def dice(atlas: Atlas, labels: np.ndarray, truth: np.ndarray, name: str) -> float:
    """Overlap of a region, both sides together."""
    ours = np.isin(labels, [region.index for region in atlas.regions if region.name == name])
    true = np.isin(truth, [LABELS[f"{side}-{name.title()}"] for side in ("Left", "Right")])
    return float(2 * (ours & true).sum() / max(1, ours.sum() + true.sum()))


if __name__ == "__main__":
    main()
