"""The group level on digital people whose labels are known.

    python benchmarks/group.py                        # 6 people, 3 mm: overlap, and chi of nuclei
    python benchmarks/group.py --folder DIR           # keep everything in DIR, and go on from there

Overlap is the mean Dice of true labels of 1 mm over pairs of people: as their headers lie, after the rigid
and affine stages, and after every deformable round; then for pairs brought together through one further
person by the same method, averaged over who that is, and for the same pairs brought together by the template.
Chi of nuclei is that of the template's average map, of the people's own maps, and of the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import group_study as study
from qsmxt_app.group.grid import Box, grid_around
from qsmxt_app.registration import Grid, Image, Transform, load_transform, resample_labels
from qsmxt_app.registration.head_alignment import align
from qsmxt_app.workflows.node_base import load_image
from qsmxt_app.workflows.study_level.alignment import register_channels

Labels = dict[str, np.ndarray]


def warped(labels: Mapping[str, Image], grid: Grid, transforms: Mapping[str, Transform]) -> Labels:
    return {
        person: resample_labels(labels[person], grid, transform).labels.array
        for person, transform in transforms.items()
    }


def fine_grid(labels: Mapping[str, Image], transforms: Mapping[str, Transform]) -> Grid:
    """Voxels of 1 mm around the labels of all people in a common space."""
    boxes = []
    for person, transform in transforms.items():
        grid = labels[person].grid
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(3, -1).T
        there = transform.inverse().map_points(ends @ grid.affine[:3, :3].T + grid.affine[:3, 3])
        boxes.append(Box(there.min(axis=0), there.max(axis=0)))
    return grid_around(boxes, 1.0, 0.0)


def overlap(
    labels: Mapping[str, Image], transforms: Mapping[str, Transform], parts: Mapping[str, tuple[int, ...]]
) -> dict[str, float]:
    """Mean Dice over all pairs of people."""
    there = warped(labels, fine_grid(labels, transforms), transforms)
    found: dict[str, list[float]] = {name: [] for name in parts}
    for one, other in combinations(there.values(), 2):
        for name, numbers in parts.items():
            a, b = np.isin(one, numbers), np.isin(other, numbers)
            found[name].append(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))
    return {name: float(np.mean(values)) for name, values in found.items()}


def stages(folder: Path, people: list[str]) -> Iterable[tuple[str, dict[str, Transform]]]:
    """Name of every stage that is on disk, and transforms to its template."""
    work, out = folder / "out" / "work" / "group", folder / "out"
    yield "headers", dict.fromkeys(people, Transform())
    for name in ("rigid", "affine"):
        files = {person: work / f"average_{name}" / f"to_template_{i}.txt" for i, person in enumerate(people)}
        yield name, {person: load_transform(file) for person, file in files.items()}
    record = json.loads((out / "figures" / "group_desc-qsm_record.json").read_text())
    for number in range(1, len(record["template"]["rounds"]) + 1):
        recentre = _pair(work / f"update_{number}")
        yield (
            f"round {number}",
            {p: _pair(work / f"deform_{number}_{p.replace('-', '_')}").then(recentre) for p in people},
        )


def to_one(folder: Path, people: list[str], one: str) -> dict[str, Transform]:
    """Register all people to one person by the same method."""
    work = folder / "out" / "work" / "group"
    images = {
        person: [
            load_image(work / f"person_{person.replace('-', '_')}" / f"{name}.nii")
            for name in ("magnitude", "chi")
        ]
        for person in people
    }
    fixed = images[one]
    found = {one: Transform()}
    for person in set(people) - {one}:
        moving = images[person]
        start = align(fixed[0], moving[0], affine=True)
        found[person] = register_channels(fixed, moving, start)
    return {person: found[person] for person in people}


def print_overlap(folder: Path, labels: Mapping[str, Image], ones: int) -> dict[str, Transform]:
    """Overlap after every stage, and through single persons; return the last transforms."""
    parts, people = study.regions(folder), list(labels)
    print(f"{'':28}{'mean':>8}" + "".join(f"{name[:9]:>10}" for name in parts))
    last: dict[str, Transform] = {}
    for name, last in stages(folder, people):
        _print_row(name, overlap(labels, last, parts))
    rows: dict[str, list[dict[str, float]]] = {"one person": [], "template, same pairs": []}
    for one in people[:ones]:
        others = [person for person in people if person != one]
        for name, found in (("one person", to_one(folder, people, one)), ("template, same pairs", last)):
            rows[name].append(overlap(labels, {person: found[person] for person in others}, parts))
    for name, several in rows.items():
        if several:
            _print_row(
                f"through {name}", {part: float(np.mean([row[part] for row in several])) for part in parts}
            )
    return last


def print_chi(folder: Path, labels: Mapping[str, Image], transforms: Mapping[str, Transform]) -> None:
    """Chi of nuclei: truth, own maps, and the template where most people have the nucleus."""
    out = folder / "out"
    template = study.read_image(out / "tpl-study" / "anat" / "tpl-study_Chimap.nii.gz")
    there = warped(labels, template.grid, transforms)
    print(f"\n{'chi [ppm]':28}{'truth':>9}{'own maps':>10}{'template':>10}{'template - own maps':>21}")
    for name, numbers in study.regions(folder).items():
        true, own = [], []
        for person in labels:
            where = np.isin(study.true_labels(folder, person).array, numbers)
            true.append(study.true_chi(folder, person).array[where].mean())
            own.append(study.own_chi(folder, person).array[where].mean())
        agreed = np.mean([np.isin(one, numbers) for one in there.values()], axis=0) > 0.5
        average = float(template.array[agreed].mean()) if agreed.any() else np.nan
        row = (np.mean(true), np.mean(own), average, average - np.mean(own))
        print(f"{name:28}{row[0]:9.4f}{row[1]:10.4f}{row[2]:10.4f}{row[3]:21.4f}")


def _pair(folder: Path) -> Transform:
    return load_transform(folder / "transform.h5", folder / "inverse_transform.h5")


def _print_row(name: str, values: Mapping[str, float]) -> None:
    print(f"{name:28}{np.mean(list(values.values())):8.3f}" + "".join(f"{v:10.3f}" for v in values.values()))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--voxel-size", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ones", type=int, default=6, help="how many single persons are compared with")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        study.prepare(folder, args.people, args.voxel_size, args.seed)
        study.run("group", folder)
        labels = {person: study.fine_labels(folder, person, args.seed) for person in study.people(folder)}
        print_chi(folder, labels, print_overlap(folder, labels, args.ones))


if __name__ == "__main__":
    main()
