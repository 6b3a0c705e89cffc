"""The voxel-wise statistics: clusters as a table, and outlined on the average map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qsmxt_app.group.statistics.clusters import SIGNIFICANT
from qsmxt_app.records.group import GroupRecord, VoxelwiseModel
from qsmxt_app.report.panel import Panel, Table, make_view
from qsmxt_app.report.pictures import CHI, Window, outline
from qsmxt_app.report.rendering import show_number, show_product
from qsmxt_app.report.slices import Cut, SliceGrid, make_grid, size_mm, take, to_ras
from qsmxt_app.report.study.values import finite_number, read_results
from qsmxt_app.report.volumes import load_volume

MOST_CLUSTERS, MOST_SLICES = 20, 4
HEAD = ("Region of the peak", "Volume [mm³]", "p", "t", "Effect", "Place [mm]", "Regions")
LEGEND = (("positive", "larger"), ("negative", "smaller"))
_MAP_OF = {"chi": ("Chimap", CHI), "r2star": ("R2starmap", Window(0, 60, "1/s"))}


@dataclass(frozen=True)
class VoxelwiseOnPage:
    """What was done, and a panel for every term."""

    facts: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    table: str


def voxelwise_section(output_dir: Path, record: GroupRecord) -> VoxelwiseOnPage | None:
    """Return what the page shows of voxel-wise statistics; missing or damaged files read as empty ones."""
    model = record.voxelwise
    if model is None or record.model is None:
        return None
    table = output_dir / Path(model.table).name
    rows = read_results(table)
    panels = [
        _panel(output_dir, record, effect, maps, [row for row in rows if row.get("term") == effect])
        for effect, maps in zip(model.clusters, _triples(model.maps), strict=False)
    ]
    return VoxelwiseOnPage(_facts(model, record.model.units), panels, table.name if rows else "")


def _triples(maps: Sequence[str]) -> list[tuple[str, str]]:
    """Return the maps of t and p of each effect; they follow the estimate."""
    return [(maps[first + 1], maps[first + 2]) for first in range(0, len(maps) - 2, 3)]


def _facts(model: VoxelwiseModel, units: str) -> list[tuple[str, str]]:
    return [
        ("Participants", f"{model.participants}, of several scans the mean"),
        ("Smoothing", f"Gaussian of {model.fwhm_mm:g} mm full width at half maximum, inside the map"),
        ("Voxels", f"{model.voxels} of {show_product(model.voxel_size)} mm, known in all participants"),
        ("Share of the template's brain", f"{model.share_of_brain:.0%}"),
        ("Permutations", f"{model.permutations} of each term, two-sided; the other terms are nuisance"),
        ("Estimates in", units),
    ]


def _panel(
    output_dir: Path, record: GroupRecord, effect: str, maps: tuple[str, str], rows: list[dict[str, str]]
) -> Panel:
    count = len(rows)
    found = f"{count} cluster{'s' * (count != 1)}" if count else "No cluster"
    words = f"{found} with p < {SIGNIFICANT:g}, corrected over all voxels."
    if not count:
        words += " This does not show that there is no effect: small or weak ones need more participants."
    elif count > MOST_CLUSTERS:
        words += f" The {MOST_CLUSTERS} most significant ones:"
    picture = _views(output_dir, record, maps, rows) if count else ()
    cells = [_cells(row) for row in rows[:MOST_CLUSTERS]]
    table = Table(HEAD, cells) if cells else None
    legend = LEGEND if picture else ()
    return Panel(f"voxels-{effect}", effect, words, picture, legend, table=table)


def _cells(row: dict[str, str]) -> tuple[str, ...]:
    volume, p, t, effect = (
        show_number(finite_number(row.get(name)), 3 if name != "p" else 2)
        for name in ("volume_mm3", "p", "peak_t", "peak_effect")
    )
    place = ", ".join(show_number(finite_number(row.get(axis)), 3) for axis in "xyz")
    return row.get("peak_region") or "?", volume, p, t, effect, place, row.get("regions") or ""


def _views(output_dir: Path, record: GroupRecord, maps: tuple[str, str], rows: list[dict[str, str]]) -> tuple:
    """Outline clusters on the average map, in axial slices through the most significant ones."""
    suffix, window = _MAP_OF.get(record.model.measure if record.model else "", ("", CHI))
    name = record.template.name if record.template else ""
    folder = output_dir / f"tpl-{name}" / "anat"
    below = [folder / f"tpl-{name}_{desc}{suffix}.nii.gz" for desc in ("", "desc-mean_")]
    average = next((found for path in below if (found := load_volume(path))), None)
    t, p = (load_volume(output_dir / path) for path in maps)
    if not average or not t or not p or ".." in "".join(maps):
        return ()
    values, affine, _ = p
    # the statistics are of every second voxel or so where the map was smoothed
    steps = [max(1, -(-whole // part)) for whole, part in zip(average[0].shape, values.shape, strict=True)]
    shown = average[0][tuple(slice(None, None, step) for step in steps)]
    if shown.shape != values.shape or t[0].shape != values.shape:
        return ()
    grid = make_grid(np.where(shown != 0, shown, 0), affine)
    larger, smaller = (to_ras((values < SIGNIFICANT) & (sign * t[0] > 0), affine) for sign in (1, -1))

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        kinds = (("positive", larger), ("negative", smaller))
        return tuple((kind, outline(take(mask, grid, cut), size_mm(grid, cut))) for kind, mask in kinds)

    turned = to_ras(shown, affine)
    slices = {cut: take(turned, grid, cut) for cut in _cuts(grid, rows)}
    return (make_view("Clusters on the average map", slices, grid, window, overlay=overlay),)


def _cuts(grid: SliceGrid, rows: list[dict[str, str]]) -> list[Cut]:
    """Return axial slices through the peaks of clusters, from below to above."""
    indices: list[int] = []
    for row in rows:
        place = [finite_number(row.get(axis)) or 0.0 for axis in "xyz"]
        index = round(float(np.linalg.solve(grid.ras_affine, [*place, 1.0])[2]))
        if grid.lower[2] <= index < grid.upper[2] and index not in indices:
            indices.append(index)
    return [Cut("axial", index) for index in sorted(indices[:MOST_SLICES])]
