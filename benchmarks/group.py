"""The group level on digital people whose labels are known.

    python benchmarks/group.py                        # 6 people, 3 mm: overlap, and chi of nuclei
    python benchmarks/group.py --memory               # also: peak memory for 6 and for 12 participants
    python benchmarks/group.py --folder DIR           # keep everything in DIR, and go on from there

Overlap is the mean Dice of true labels of 1 mm over pairs of people: as their headers lie, after the rigid
and affine stages, and after every deformable round; then for pairs brought together through one further
person by the same method, averaged over who that is, and for the same pairs brought together by the template.
Chi of nuclei is that of the template's average map, of the people's own maps, and of the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.group.grid import Box, grid_around
from qsmxt_app.registration import (
    Grid,
    Image,
    Linear,
    Transform,
    Warp,
    load_transform,
    resample_labels,
    save_transform,
)
from qsmxt_app.registration.register import AFFINE, RIGID, register
from qsmxt_app.simulate import DEEP_GREY_NUCLEI, Protocol
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.dataset import write_dataset
from qsmxt_app.simulate.person import make_person
from qsmxt_app.workflows.group.alignment import bend, linear_stage, shrink_factors
from qsmxt_app.workflows.group.template import UpdateTemplate
from qsmxt_app.workflows.node_base import load_image, save

Labels = dict[str, np.ndarray]
SIDE = 110
MARGIN_MM = 12.0


def command(level: str, folder: Path, *options: str) -> float:
    """Run a level; return the peak memory of its main process in MB."""
    arguments = [
        str(folder / "raw"),
        str(folder / "out"),
        level,
        "--quiet",
        "--skip-bids-validation",
        *options,
    ]
    process = subprocess.Popen([sys.executable, "-m", "qsmxt_app", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"qsmxt {level} failed: see {folder / 'out' / 'logs'}")
    return usage.ru_maxrss / 1000


def prepare(folder: Path, people: int, voxel_size: float, seed: int) -> None:
    """Simulate people and map them, unless that was done before."""
    if not (folder / "raw").exists():
        write_dataset(
            folder / "raw",
            subjects=people,
            seed=seed,
            protocol=Protocol((voxel_size,) * 3),
            truth=folder / "truth",
        )
    if not (folder / "out" / "index.html").exists():
        command("participant", folder, "--preset", "fast", "--segmentation", "none")


def true_labels(folder: Path, person: str) -> Image:
    return _image(folder / "truth" / person / "anat" / f"{person}_dseg.nii.gz")


def regions(folder: Path) -> dict[str, tuple[int, ...]]:
    """True labels by nucleus, both sides together, and the ventricles."""
    lines = next((folder / "truth").glob("sub-*/anat/*_dseg.tsv")).read_text().splitlines()[1:]
    names = {name: int(index) for index, name in (line.split("\t") for line in lines)}
    found = {
        nucleus: tuple(index for name, index in names.items() if _without_side(name) == nucleus)
        for nucleus in dict.fromkeys(_without_side(name) for name in DEEP_GREY_NUCLEI)
    }
    return {"Ventricles": (names["Ventricles"],), **found}


def fine_labels(folder: Path, number: int, seed: int) -> Image:
    """True labels of 1 mm around a person's nuclei: labels of a scan's voxels lose overlap when carried."""
    scan = true_labels(folder, f"sub-{number:02d}")
    names = sorted({index for numbers in regions(folder).values() for index in numbers})
    corners = np.argwhere(np.isin(scan.array, names)) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    low, high = corners.min(axis=0) - MARGIN_MM, corners.max(axis=0) + MARGIN_MM
    x, y, z = np.ceil(high - low).astype(int).tolist()
    tissue, _, _ = sample_anatomy(make_person(seed, number), low, np.eye(3), (x, y, z))
    affine = np.eye(4)
    affine[:3, 3] = low
    return Image(tissue.astype(np.int32), affine)


def carried(labels: Mapping[str, Image], grid: Grid, transforms: Mapping[str, Transform]) -> Labels:
    return {
        person: resample_labels(labels[person], grid, transform).labels.array
        for person, transform in transforms.items()
    }


def fine_grid(labels: Mapping[str, Image], transforms: Mapping[str, Transform]) -> Grid:
    """Voxels of 1 mm around everybody's labels in a common space."""
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
    there = carried(labels, fine_grid(labels, transforms), transforms)
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
    """Register everybody to one person by the same method."""
    work = folder / "out" / "work" / "group"
    images = {
        person: [
            load_image(work / f"person_{person.replace('-', '_')}" / f"{name}.nii")
            for name in ("magnitude", "chi")
        ]
        for person in people
    }
    fixed = images[one]
    factors = shrink_factors(fixed[0].voxel_size)
    found = {one: Transform()}
    for person in set(people) - {one}:
        moving = images[person]
        start = register(fixed[0], moving[0], [linear_stage(stage, factors) for stage in (RIGID, AFFINE)])
        found[person] = bend(fixed, moving, start)
    return {person: found[person] for person in people}


def print_overlap(folder: Path, labels: Mapping[str, Image], ones: int) -> dict[str, Transform]:
    """Overlap after every stage, and through single persons; return the last transforms."""
    parts, people = regions(folder), list(labels)
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
    template = _image(out / "tpl-study" / "anat" / "tpl-study_Chimap.nii.gz")
    there = carried(labels, template.grid, transforms)
    print(f"\n{'chi [ppm]':28}{'truth':>9}{'own maps':>10}{'template':>10}{'template - own maps':>21}")
    for name, numbers in regions(folder).items():
        true, own = [], []
        for person in labels:
            where = np.isin(true_labels(folder, person).array, numbers)
            anat = folder / "truth" / person / "anat" / f"{person}_Chimap.nii.gz"
            true.append(_image(anat).array[where].mean())
            own.append(_image(out / person / "anat" / f"{person}_Chimap.nii.gz").array[where].mean())
        agreed = np.mean([np.isin(one, numbers) for one in there.values()], axis=0) > 0.5
        average = float(template.array[agreed].mean()) if agreed.any() else np.nan
        row = (np.mean(true), np.mean(own), average, average - np.mean(own))
        print(f"{name:28}{row[0]:9.4f}{row[1]:10.4f}{row[2]:10.4f}{row[3]:21.4f}")


def print_memory(folder: Path, people: list[str]) -> None:
    """Peak memory of the largest step and of the main process, for everybody once and twice."""
    twice = folder / "twice"
    if not twice.exists():
        for level in ("raw", "out"):
            skip = shutil.ignore_patterns("work", "tpl-*", "logs", "*space-study*", "*_xfm.*")
            shutil.copytree(folder / level, twice / level, ignore=skip)
            for person in people:
                _copy_person(twice / level / person, f"sub-copy{person.removeprefix('sub-')}")
    coarse = ("--template-rounds", "1", "--template-resolution", "4.5", "--template-name", "memory")
    for path in (folder, twice):
        main = command("group", path, *coarse, "--work-dir", str(path / "work-memory"))
        record = json.loads((path / "out" / "figures" / "group_desc-qsm_record.json").read_text())
        steps = record["memory_mb"]
        largest = max(steps, key=steps.get)
        print(
            f"{len(record['template']['participants']):3} participants: largest step ({largest}) "
            f"{steps[largest]:.0f} MB, main process {main:.0f} MB"
        )
    for count in (6, 12):
        print(
            f"{count:3} participants of {SIDE}^3 voxels: update of the template {update_memory(count):.0f} MB"
        )


def update_memory(count: int) -> float:
    """Peak memory in MB of the step that sees everybody, in a process of its own."""
    code = f"import benchmarks.group as g; print(g.update_template({count}))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(told.stdout.split()[-1])


def update_template(count: int) -> float:
    """Update a template with made-up deformations; return the step's peak memory in MB."""
    rng = np.random.default_rng(0)
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        field = np.stack(
            [ndimage.gaussian_filter(rng.normal(size=(SIDE,) * 3), 9) for _ in range(3)], axis=-1
        )
        field = (field / np.abs(field).max()).astype(np.float32)
        files = {key: folder / f"{key}.nii" for key in ("image", "mask")}
        save(ndimage.gaussian_filter(rng.random((SIDE,) * 3), 2), affine, files["image"])
        save(np.ones((SIDE,) * 3, bool), affine, files["mask"])
        chain = Transform((Warp(field, -field, affine), Linear(np.eye(4))))
        there, back = folder / "transform.h5", folder / "way_back.h5"
        save_transform(chain, there)
        save_transform(chain.inverse(), back)
        step = UpdateTemplate(
            magnitudes=[str(files["image"])] * count,
            chis=[str(files["image"])] * count,
            masks=[str(files["mask"])] * count,
            transforms=[str(there)] * count,
            ways_back=[str(back)] * count,
            template=str(files["image"]),
        )
        before = Path.cwd()
        os.chdir(folder)
        step.run()
        os.chdir(before)
        return float(json.loads((folder / "facts.json").read_text())["peak_mb"])


def _copy_person(source: Path, name: str) -> None:
    target = shutil.copytree(source, source.with_name(name))
    for file in sorted(target.rglob(f"{source.name}_*")):
        file.rename(file.with_name(file.name.replace(source.name, name, 1)))
    for file in target.rglob("*_record.json"):
        content = file.read_text().replace(source.name, name)
        file.write_text(content.replace(f'"sub": "{source.name[4:]}"', f'"sub": "{name[4:]}"'))


def _without_side(name: str) -> str:
    return name.removeprefix("Left-").removeprefix("Right-")


def _pair(folder: Path) -> Transform:
    return load_transform(folder / "transform.h5", folder / "way_back.h5")


def _image(path: Path) -> Image:
    image = nib.nifti1.load(path)
    return Image(np.asarray(image.dataobj), image.affine)


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
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        prepare(folder, args.people, args.voxel_size, args.seed)
        command("group", folder)
        numbers = range(1, args.people + 1)
        labels = {f"sub-{number:02d}": fine_labels(folder, number, args.seed) for number in numbers}
        print_chi(folder, labels, print_overlap(folder, labels, args.ones))
        if args.memory:
            print()
            print_memory(folder, list(labels))


if __name__ == "__main__":
    main()
