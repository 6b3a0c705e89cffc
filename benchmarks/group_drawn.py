"""What is measured in labels that somebody drew, compared with the same map, and the truth, in true labels.

    python benchmarks/group_drawn.py --folder DIR        # of benchmarks/group.py, which must have run there

First what is lost on the way although the registration is exact: a person's own labels are drawn on the
template's voxels (and on finer ones) and warped back by the inverse of the transform that brought them. Then
by the real command: labels drawn on the template where most people have the nucleus, and the true labels of
one person's scan, warped to the others. Errors are in ppm, over people: root mean square, and mean.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.group_study import (
    Regions,
    fine_labels,
    found_transform,
    own_chi,
    people,
    read_image,
    regions,
    run,
    true_chi,
    true_labels,
)
from qsmxt_app.group.volume_preserving_resampling import resample_preserving_volume
from qsmxt_app.registration import Grid, Image, resample_labels

FINE_MM = 1.0
Errors = dict[str, list[float]]


class Study:
    """A study that the group level has been run on, and the truth about it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.people, self.regions = folder, people(folder), regions(folder)
        self.transforms = {person: found_transform(folder, person) for person in self.people}
        self.fine = {person: fine_labels(folder, person, seed) for person in self.people}
        self.grid = read_image(folder / "out" / "tpl-study" / "anat" / "tpl-study_Chimap.nii.gz").grid

    def true_means(self, person: str, image: Image) -> dict[str, float]:
        """Mean of a map in the true labels of a person's scan."""
        labels = true_labels(self.folder, person).array
        return {name: float(image.array[np.isin(labels, ids)].mean()) for name, ids in self.regions.items()}

    def map_errors(self) -> Errors:
        """Return what the maps themselves are off from the truth, in true labels."""
        found: Errors = {name: [] for name in self.regions}
        for person in self.people:
            truth = self.true_means(person, true_chi(self.folder, person))
            for name, value in self.true_means(person, own_chi(self.folder, person)).items():
                found[name].append(value - truth[name])
        return found

    def return_errors(self, grid: Grid) -> Errors:
        """Draw each person's own labels on a grid in the template, and measure them in the scan again."""
        found: Errors = {name: [] for name in self.regions}
        for person in self.people:
            chi, there = own_chi(self.folder, person), self.transforms[person]
            drawn = resample_labels(self._numbered(person), grid, there).labels
            labels = resample_preserving_volume(drawn, chi.grid, there.inverse())
            truth = self.true_means(person, chi)
            for number, name in enumerate(self.regions, start=1):
                where = labels == number
                found[name].append(float(chi.array[where].mean()) - truth[name] if where.any() else np.nan)
        return found

    def command_errors(self, drawn: Path, space: str, without: str = "") -> tuple[Errors, Errors]:
        """Measure a drawn segmentation by the command: less the map, and less the truth, in true labels."""
        table = drawn.with_name("labels.tsv")
        rows = [f"{number}\t{name}" for number, name in enumerate(self.regions, start=1)]
        table.write_text("\n".join(["index\tname", *rows]) + "\n")
        options = ["--custom-dseg", str(drawn), "--custom-labels", str(table), "--custom-space", space]
        run("group", self.folder, *options)
        atlas = drawn.name.partition("seg-")[2].partition("_")[0]
        by_map: Errors = {name: [] for name in self.regions}
        by_truth: Errors = {name: [] for name in self.regions}
        values = _values(self.folder / "out" / "group_stats.csv", atlas)
        for person in self.people:
            if person == without:
                continue
            own = self.true_means(person, own_chi(self.folder, person))
            truth = self.true_means(person, true_chi(self.folder, person))
            for name in self.regions:
                by_map[name].append(values[person, name] - own[name])
                by_truth[name].append(values[person, name] - truth[name])
        return by_map, by_truth

    def most_have(self, resolution: float) -> Image:
        """Draw on the template, or on finer voxels: each nucleus where most people have it."""
        grid = self.finer(resolution)
        votes = np.zeros((len(self.regions) + 1, *grid.shape), np.uint8)
        for person in self.people:
            there = resample_labels(self._numbered(person), grid, self.transforms[person]).labels.array
            for number in range(1, len(votes)):
                votes[number] += there == number
        drawn = np.where(votes[1:].max(axis=0) > len(self.people) / 2, votes[1:].argmax(axis=0) + 1, 0)
        return Image(drawn.astype(np.int16), grid.affine)

    def finer(self, resolution: float) -> Grid:
        """Return the template's grid with voxels of about this edge."""
        edge = float(np.linalg.norm(self.grid.affine[:3, 0]))
        times = max(1, round(edge / resolution))
        affine = self.grid.affine @ np.diag([1 / times] * 3 + [1.0])
        affine[:3, 3] = self.grid.affine[:3, 3] - self.grid.affine[:3, :3] @ np.full(3, 0.5 - 0.5 / times)
        x, y, z = (times * n for n in self.grid.shape)
        return Grid((x, y, z), affine)

    def on_scan(self, person: str) -> Image:
        """True labels of a scan, numbered as regions are."""
        return self._renumbered(true_labels(self.folder, person))

    def _numbered(self, person: str) -> Image:
        return self._renumbered(self.fine[person])

    def _renumbered(self, labels: Image) -> Image:
        numbered = np.zeros(labels.array.shape, np.int32)
        for number, ids in enumerate(self.regions.values(), start=1):
            numbered[np.isin(labels.array, ids)] = number
        return labels.with_array(numbered)


def _values(table: Path, atlas: str) -> dict[tuple[str, str], float]:
    with table.open(newline="", encoding="utf-8-sig") as stream:
        return {
            (row["participant_id"], row["region"]): float(row["mean"] or "nan")
            for row in csv.DictReader(stream)
            if row["atlas"] == atlas and row["map"] == "chi"
        }


def _print(title: str, errors: Mapping[str, list[float]]) -> None:
    cells = []
    for values in errors.values():
        square = float(np.sqrt(np.mean(np.square(values))))
        cells.append(f"{square:.3f} {np.mean(values):+.3f}")
    print(f"{title:44}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def _save(image: Image, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    nib.Nifti1Image(image.array.astype(np.int16), image.affine).to_filename(path)
    return path


def _head(names: Regions) -> str:
    return f"{'error of regional chi: rms, mean [ppm]':44}" + "".join(f"{name[:13]:>14}" for name in names)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1, help="of the study in the folder")
    args = parser.parse_args()
    study = Study(args.folder, args.seed)
    print(_head(study.regions))
    _print("map less truth, both in true labels", study.map_errors())
    _print("own labels on the template and back", study.return_errors(study.grid))
    _print(f"... drawn on {FINE_MM:g} mm", study.return_errors(study.finer(FINE_MM)))
    first = study.people[0]
    for title, name, image, space, without in (
        ("drawn on the template", "template", study.most_have(np.inf), "template", ""),
        (f"drawn there on {FINE_MM:g} mm", "fine", study.most_have(FINE_MM), "template", ""),
        (f"true labels of {first}", "first", study.on_scan(first), first, first),
    ):
        path = _save(image, args.folder / "drawn" / f"drawn_seg-{name}_dseg.nii.gz")
        by_map, by_truth = study.command_errors(path, space, without)
        _print(f"{title}, less the map in true labels", by_map)
        _print(f"{title}, less the truth", by_truth)


if __name__ == "__main__":
    main()
