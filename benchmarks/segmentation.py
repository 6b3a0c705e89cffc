"""How well the built-in atlas labels T1w images and scans, how long it takes and how much memory.

    python benchmarks/segmentation.py real                  # ../shared/data/labelled-t1w against FreeSurfer
    python benchmarks/segmentation.py simulated --seeds 101 102 103 --voxel-size 1
    python benchmarks/segmentation.py displaced --seeds 101 --voxel-size 1
    python benchmarks/segmentation.py simulated --chimap "maps/seed-{seed}_Chimap.nii.gz"

The first prints Dice for each region, beside what an 18-class network reached there. The second prints Dice
of nuclei in the scan's space, and what their place costs: mean chi by our labels minus that by the true ones,
in the same map. That is the true map of chi, or with the third what the command has made of the same head,
which then also places the nuclei; its own error, by the true labels, is printed beside.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.registration import Image, Transform, linear, resample_labels
from qsmxt_app.segment.alignment import Alignment, align_to_t1w
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_loading import load_atlas
from qsmxt_app.segment.labelling import (
    SEEN_ON_CHI,
    atlas_to_t1w,
    label_t1w,
    place_nuclei,
    refine_nuclei_borders,
)
from qsmxt_app.segment.prepare import PreparedT1w, prepare_t1w
from qsmxt_app.segment.scan_labels import labels_on_scan
from qsmxt_app.simulate import Protocol, simulate_subject
from qsmxt_app.simulate.structural import simulate_t1w
from qsmxt_app.simulate.subject import Truth

PALLIDUM = ("globus-pallidus-external", "globus-pallidus-internal")
FREESURFER = {
    "thalamus": (("thalamus",), (10, 49), 0.87),
    "caudate": (("caudate",), (11, 50), 0.87),
    "putamen": (("putamen",), (12, 51), 0.85),
    "pallidum": (PALLIDUM, (13, 52), 0.69),
    "hippocampus": (("hippocampus",), (17, 53), 0.80),
    "amygdala": (("amygdala",), (18, 54), None),
    "accumbens": (("accumbens",), (26, 58), None),
    "brainstem": (("brainstem",), (16,), 0.92),
}
SIMULATED = (
    "thalamus", "caudate", "putamen", *PALLIDUM, "substantia-nigra", "red-nucleus", "subthalamic-nucleus",
    "dentate-nucleus", "hippocampus", "amygdala", "accumbens",
)  # fmt: skip
SHIFTS = ((0, 0, 0), (0, 0, 8), (0, -6, -6), (4, 0, -8))
HEADER = """  region                       Dice by T1w  moved  borders     own - true, ppm    map - truth"""
ROW = "  {:26s} {:13.3f}  {:5.3f}  {:7.3f}   {:+.3f} {:+.3f} {:+.3f}  {:+13.3f}"


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Print the seconds that a step takes, by the clock and of CPU, and the peak of memory so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  {step:24s} {time.perf_counter() - wall:7.1f} s  {time.process_time() - cpu:7.1f} s of CPU"
        f"  {peak:6.0f} MB peak",
        flush=True,
    )


def dice(ours: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * (ours & truth).sum() / max(1, ours.sum() + truth.sum()))


def of_names(atlas: Atlas, labels: np.ndarray, names: tuple[str, ...], side: str | None = None) -> np.ndarray:
    """Voxels of regions with one of the names."""
    numbers = [r.index for r in atlas.regions if r.name in names and side in (None, r.hemisphere)]
    return np.isin(labels, numbers)


def label(atlas: Atlas, t1w: Image) -> tuple[PreparedT1w, np.ndarray, np.ndarray, object]:
    """Run the atlas method on a T1w image: what was prepared, labels before and after tissue, transform."""
    with timed("prepare (brain, shading)"):
        prepared = prepare_t1w(t1w, atlas)
    with timed("atlas to T1w"):
        transform = atlas_to_t1w(atlas, prepared)
    with timed("labels in their tissue"):
        found = label_t1w(atlas, transform, prepared)
    for warning in prepared.warnings:
        print(f"  {warning}")
    warped = resample_labels(atlas.labels, t1w.grid, transform).labels.array
    return prepared, warped, found.labels.array, transform


def real(data: Path, atlas: Atlas) -> None:
    """One subject with FreeSurfer's labels."""
    image = nib.load(data / "labelled-t1w" / "norm.mgz")
    truth = np.asarray(nib.load(data / "labelled-t1w" / "aparc.a2009s+aseg.mgz").dataobj)
    _, warped, labels, _ = label(atlas, Image(np.asarray(image.dataobj, np.float32), image.affine))
    print("Dice against FreeSurfer    network  atlas alone  with tissue  volume ratio")
    for name, (names, numbers, network) in FREESURFER.items():
        true, ours = np.isin(truth, numbers), of_names(atlas, labels, names)
        before = dice(of_names(atlas, warped, names), true)
        known = f"{network:.2f}" if network else "    "
        overlap, ratio = dice(ours, true), ours.sum() / true.sum()
        print(f"  {name:24s} {known:>7s}  {before:11.3f}  {overlap:11.3f}  {ratio:12.2f}")


def simulated(seed: int, voxel_size: float, atlas: Atlas, chimap: str) -> dict[str, tuple[float, ...]]:
    """One digital subject: from its T1w and a map of chi to regions of its scan."""
    print(f"digital subject, seed {seed}, {voxel_size:g} mm")
    subject = simulate_subject(seed, 1, Protocol(voxel_size=(voxel_size,) * 3, echo_times=(0.005, 0.015)))
    t1w = simulate_t1w(seed, 1, voxel_size=voxel_size)
    prepared, _, labels, transform = label(atlas, Image(t1w.image, t1w.affine))
    truth, mask = subject.truth, subject.truth.brain_mask
    magnitude = Image(np.sqrt((subject.magnitude**2).mean(-1)), subject.affine)
    with timed("scan to T1w"):
        alignment = align_to_t1w(magnitude, mask, prepared)
    print(f"  {alignment.used}, {-alignment.cost_before:.4f} to {-alignment.cost_after:.4f}")
    points = np.argwhere(mask)[::97] @ subject.affine[:3, :3].T + subject.affine[:3, 3]
    true = points @ t1w.motion[:3, :3].T + t1w.motion[:3, 3]
    off = np.linalg.norm(alignment.transform.inverse().map_points(points) - true, axis=-1)
    print(f"  error of the alignment over the brain: mean {off.mean():.2f} mm, largest {off.max():.2f} mm")
    chi = magnitude.with_array(truth.chi)
    if chimap:
        image = nib.load(chimap.format(seed=seed))
        chi = Image(np.asarray(image.dataobj, np.float32), image.affine)
        mask = mask & (chi.array != 0)
    with timed("nuclei by chi"):
        placed = place_nuclei(atlas, transform, alignment, chi, mask)
    grid, to_scan = magnitude.grid, alignment.transform.inverse()
    own = Image(labels, t1w.affine)
    plain = labels_on_scan(own, to_scan, grid)
    nuclei = {"nuclei": placed.labels, "nuclei_to_scan": placed.transform}
    moved = labels_on_scan(own, to_scan, grid, **nuclei)
    with timed("their borders by chi"):
        refine = refine_nuclei_borders(placed, chi, mask)
        refined = labels_on_scan(own, to_scan, grid, **nuclei, refine_borders=refine)
    return compared(atlas, truth, chi.array, (plain, moved, refined))


def displaced(seeds: list[int], voxel_size: float, atlas: Atlas) -> None:
    """Place nuclei by chi where the T1w image is wrong about them by a shift, and print their Dice.

    The atlas is not registered at all: its own world is that of the heads, whose nuclei lie some mm away from
    its own by their anatomy; the shift comes on top.
    """
    print(f"Dice of nuclei by chi, {voxel_size:g} mm: mean and least of both sides of {len(seeds)} heads")
    print(f"{'shift of the T1w, mm':24s}" + "".join(f"{name[:16]:>18s}" for name in SEEN_ON_CHI))
    heads = [
        simulate_subject(seed, 1, Protocol(voxel_size=(voxel_size,) * 3, echo_times=(0.005,)))
        for seed in seeds
    ]
    stay = Alignment(Transform(), "header", 0.0, 0.0)
    for shift in SHIFTS:
        scores = []
        for subject in heads:
            chi, mask = Image(subject.truth.chi, subject.affine), subject.truth.brain_mask
            wrong = np.eye(4)
            wrong[:3, 3] = shift
            placed = place_nuclei(atlas, linear(wrong), stay, chi, mask)
            refine = refine_nuclei_borders(placed, chi, mask)
            labels = labels_on_scan(placed.labels, placed.transform, chi.grid, refine_borders=refine)
            scores.append([side_dice(atlas, labels, subject.truth, name) for name in SEEN_ON_CHI])
        found = np.array(scores).transpose(1, 0, 2).reshape(len(SEEN_ON_CHI), -1)
        row = "".join(
            f"{mean:11.2f} {least:6.2f}" for mean, least in zip(found.mean(1), found.min(1), strict=True)
        )
        print(f"{shift!s:24s}{row}", flush=True)


def side_dice(atlas: Atlas, labels: np.ndarray, truth: Truth, name: str) -> list[float]:
    """Overlap of a nucleus on the left and on the right."""
    number = {known: index for index, known in truth.label_names.items()}
    sides = (("L", "Left"), ("R", "Right"))
    return [
        dice(of_names(atlas, labels, (name,), side), truth.labels == number[f"{word}-{name.title()}"])
        for side, word in sides
    ]


def compared(
    atlas: Atlas, truth: Truth, chi: np.ndarray, labellings: tuple[np.ndarray, ...]
) -> dict[str, tuple[float, ...]]:
    """Print and return, for each region: Dice of three labellings, then what their place costs in ppm."""
    by_name = {name: number for number, name in truth.label_names.items()}
    scores = {}
    print(HEADER)
    offset = float(chi[truth.brain_mask].mean() - truth.chi[truth.brain_mask].mean())
    for name in SIMULATED:
        numbers = [by_name[f"{side}-{name.title()}"] for side in ("Left", "Right")]
        true = np.isin(truth.labels, numbers)
        ours = [of_names(atlas, labels, (name,)) for labels in labellings]
        overlaps = [dice(own, true) for own in ours]
        costs = [float(chi[own].mean() - chi[true].mean()) if own.any() else np.nan for own in ours]
        error = float(chi[true].mean() - truth.chi[true].mean()) - offset
        scores[name] = (*overlaps, *costs, error)
        print(ROW.format(name, *scores[name]))
    return scores


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("real", "simulated", "displaced"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--atlas", default="qsmxt")
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("QSMXT_TEST_DATA", default)))
    parser.add_argument("--chimap", default="", help="maps of the command on these heads, {seed} in the name")
    args = parser.parse_args()
    with timed("atlas assembled"):
        atlas = load_atlas(args.atlas)
    if args.what == "real":
        real(args.data, atlas)
        return
    if args.what == "displaced":
        displaced(args.seeds, args.voxel_size, atlas)
        return
    found = [simulated(seed, args.voxel_size, atlas, args.chimap) for seed in args.seeds]
    print(f"mean of {len(found)}; of differences the one furthest from 0")
    print(HEADER)
    for name in SIMULATED:
        table = np.array([scores[name] for scores in found])
        worst = table[abs(table).argmax(0), np.arange(table.shape[1])]
        print(ROW.format(name, *table[:, :3].mean(0), *worst[3:]))


if __name__ == "__main__":
    main()
