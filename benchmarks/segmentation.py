"""How well the built-in atlas labels T1w images and scans, how long it takes and how much memory.

    python benchmarks/segmentation.py real                  # ../shared/data/labelled-t1w against FreeSurfer
    python benchmarks/segmentation.py simulated --seeds 101 102 103 --voxel-size 1
    python benchmarks/segmentation.py displaced --seeds 101 --voxel-size 1
    python benchmarks/segmentation.py other --seeds 101 --voxel-size 1     # people unlike the atlas's head
    python benchmarks/segmentation.py simulated --chimap "maps/seed-{seed}_Chimap.nii.gz"

The first prints Dice for each region, beside what an 18-class network reached there. The second prints Dice
of nuclei in the scan's space, and what their place costs: mean chi by our labels minus that by the true ones,
in the same map. That is the true map of chi, or with the third what the command has made of the same head,
which then also places the nuclei; its own error, by the true labels, is printed beside. The last does the
same with another brain (`other_anatomies.py`) whose small nuclei lie elsewhere than the T1w image lets
expect, in a map of chi with noise, and prints the goals.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.other_anatomies import CASES, other_person
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
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.geometry import scan_grid
from qsmxt_app.simulate.person import Person
from qsmxt_app.simulate.signal import block_majority, block_mean
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
    "lateral ventricle": (("lateral-ventricle",), (4, 43), None),
    "third ventricle": (("third-ventricle",), (14,), None),
    "cerebellar cortex": (("cerebellar-cortex",), (8, 47), None),
    "cerebellar white matter": (("cerebellar-white-matter",), (7, 46), None),
}
KINDS = {"cortex": ("cortex", range(11100, 12999)), "white matter": ("white", (2, 41, *range(251, 256)))}
SIMULATED = (
    "thalamus", "caudate", "putamen", *PALLIDUM, "substantia-nigra", "red-nucleus", "subthalamic-nucleus",
    "dentate-nucleus", "hippocampus", "amygdala", "accumbens",
)  # fmt: skip
SHIFTS = ((0, 0, 0), (0, 0, 8), (0, -6, -6), (4, 0, -8))
HEADER = (
    "  region                       Dice by T1w  moved  borders     own - true, ppm    map - truth  volume"
)
ROW = "  {:26s} {:13.3f}  {:5.3f}  {:7.3f}   {:+.3f} {:+.3f} {:+.3f}  {:+12.3f}  {:6.2f}"
OTHER_NOISE = 0.012
"""ppm, of the map in which nuclei of other anatomies are searched."""


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
    for name, (kind, numbers) in KINDS.items():
        own = [r.index for r in atlas.regions if r.kind == kind and "cerebell" not in r.name]
        true, ours = np.isin(truth, numbers), np.isin(labels, own)
        before, overlap = dice(np.isin(warped, own), true), dice(ours, true)
        print(f"  {name:32s}  {before:11.3f}  {overlap:11.3f}  {ours.sum() / true.sum():12.2f}")


def simulated(seed: int, voxel_size: float, atlas: Atlas, chimap: str) -> dict[str, tuple[float, ...]]:
    """One digital subject: from its T1w and a map of chi to regions of its scan."""
    print(f"digital subject, seed {seed}, {voxel_size:g} mm")
    on_t1w = LabelledT1w.of(seed, voxel_size, atlas)
    truth = on_t1w.truth
    chi, mask = Image(truth.chi, on_t1w.affine), truth.brain_mask
    if chimap:
        image = nib.load(chimap.format(seed=seed))
        chi = Image(np.asarray(image.dataobj, np.float32), image.affine)
        mask = mask & (chi.array != 0)
    return compared(atlas, truth, chi.array, on_t1w.labellings(atlas, chi, mask))


@dataclass(frozen=True)
class LabelledT1w:
    """A simulated person whose T1w image is labelled, and the truth of the scan it is aligned with."""

    labels: Image
    transform: Transform
    alignment: Alignment
    truth: Truth
    affine: np.ndarray

    @classmethod
    def of(cls, seed: int, voxel_size: float, atlas: Atlas, person: Person | None = None) -> LabelledT1w:
        """Simulate T1w and scan, label the one and align the other."""
        protocol = Protocol(voxel_size=(voxel_size,) * 3, echo_times=(0.005, 0.015))
        subject = simulate_subject(seed, 1, protocol, person=person)
        t1w = simulate_t1w(seed, 1, voxel_size=voxel_size, person=person)
        prepared, _, labels, transform = label(atlas, Image(t1w.image, t1w.affine))
        mask = subject.truth.brain_mask
        magnitude = Image(np.sqrt((subject.magnitude**2).mean(-1)), subject.affine)
        with timed("scan to T1w"):
            alignment = align_to_t1w(magnitude, mask, prepared)
        print(f"  {alignment.used}, {-alignment.cost_before:.4f} to {-alignment.cost_after:.4f}")
        points = np.argwhere(mask)[::97] @ subject.affine[:3, :3].T + subject.affine[:3, 3]
        true = points @ t1w.motion[:3, :3].T + t1w.motion[:3, 3]
        off = np.linalg.norm(alignment.transform.inverse().map_points(points) - true, axis=-1)
        print(
            f"  error of the alignment over the brain: mean {off.mean():.2f} mm, largest {off.max():.2f} mm"
        )
        return cls(Image(labels, t1w.affine), transform, alignment, subject.truth, subject.affine)

    def labellings(self, atlas: Atlas, chi: Image, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """Labels of the scan by the T1w, with nuclei moved by chi, and with their borders by chi."""
        with timed("nuclei by chi"):
            placed = place_nuclei(atlas, self.transform, self.alignment, chi, mask)
        to_scan = self.alignment.transform.inverse()
        plain = labels_on_scan(self.labels, to_scan, chi.grid)
        nuclei = {"nuclei": placed.labels, "nuclei_to_scan": placed.transform}
        moved = labels_on_scan(self.labels, to_scan, chi.grid, **nuclei)
        with timed("their borders by chi"):
            refine = refine_nuclei_borders(placed, chi, mask)
            refined = labels_on_scan(self.labels, to_scan, chi.grid, **nuclei, refine_borders=refine)
        regions = {region.index: f"{region.hemisphere} {region.name}" for region in atlas.regions}
        doubts = [f"{regions[n]}: {one.warning}" for n, one in placed.placements.items() if one.warning]
        print(f"  doubtful: {'; '.join(doubts) or 'none'}")
        return plain, moved, refined


def other(seed: int, voxel_size: float, atlas: Atlas, cases: list[str]) -> None:
    """Another brain: its T1w is labelled once, and nuclei are searched in maps that have them elsewhere."""
    print(f"another brain, seed {seed}, {voxel_size:g} mm")
    on_t1w = LabelledT1w.of(seed, voxel_size, atlas, other_person(seed, CASES["in place"]))
    small = ("substantia-nigra", "red-nucleus", "dentate-nucleus")
    for case in cases:
        print(f"nuclei {case}")
        person = other_person(seed, CASES[case])
        truth = replace(on_t1w.truth, **scanned(person, voxel_size))
        noise = np.random.default_rng(seed).normal(0, OTHER_NOISE, truth.chi.shape)
        chi = Image((truth.chi + noise * truth.brain_mask).astype(np.float32), on_t1w.affine)
        labellings = on_t1w.labellings(atlas, chi, truth.brain_mask)
        compared(atlas, truth, chi.array, labellings)
        gone = {full.split("-", 1)[1].lower() for full in CASES[case].missing}
        sides = {name: side_dice(atlas, labellings[-1], truth, name) for name in small}
        found = [value for name in small for value in sides[name] if not (name in gone and value == 0)]
        print(
            f"  nigra, red nucleus and dentate, each side: mean {np.mean(found):.3f} (goal .80), least "
            f"{min(found):.3f} (goal .60)",
            flush=True,
        )


def scanned(person: Person, voxel_size: float) -> dict[str, np.ndarray]:
    """Chi and labels of a person on the grid of a scan, without its signal."""
    grid = scan_grid((voxel_size,) * 3, (0, 0, 1))
    tissue, chi, brain = sample_anatomy(person, grid.fine_origin, grid.fine_steps, grid.fine_shape)
    labels, mean = np.empty(grid.shape, np.uint8), np.empty(grid.shape, np.float32)
    block_majority(len(labels), tissue, np.array(grid.subdivision), labels)
    block_mean(len(mean), np.where(brain, chi, np.float32(0)), np.array(grid.subdivision), mean)
    return {"labels": labels, "chi": mean}


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
        scores[name] = (*overlaps, *costs, error, float(ours[-1].sum() / true.sum()))
        print(ROW.format(name, *scores[name]))
    return scores


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("real", "simulated", "displaced", "other"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="of other anatomies")
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
    if args.what == "other":
        for seed in args.seeds:
            other(seed, args.voxel_size, atlas, args.cases)
        return
    found = [simulated(seed, args.voxel_size, atlas, args.chimap) for seed in args.seeds]
    print(f"mean of {len(found)}; of differences the one furthest from 0")
    print(HEADER)
    for name in SIMULATED:
        table = np.array([scores[name] for scores in found])
        worst = table[abs(table).argmax(0), np.arange(table.shape[1])]
        print(ROW.format(name, *table[:, :3].mean(0), *worst[3:7], table[:, 7].mean()))


if __name__ == "__main__":
    main()
