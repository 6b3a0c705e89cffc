"""A closer look at the nuclei: deep grey matter, midbrain and dentate nucleus, with and without outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.report.panel import Panel, PanelType, ScanPage, View, make_view
from qsmxt_app.report.panels.regions import OUTLINE_COLOURS, label_outlines
from qsmxt_app.report.pictures import CHI
from qsmxt_app.report.region_names import region_names
from qsmxt_app.report.slices import Cut, SliceGrid, make_grid, size_mm, take, to_ras
from qsmxt_app.report.volumes import load_volume
from qsmxt_app.segment.expected_values import plain_name

MARGIN_MM = 14.0
SLICES = 4
PLACES = {
    "Deep grey matter": ("caudate", "putamen", "globus-pallidus", "pallidum", "thalamus"),
    "Midbrain": ("red-nucleus", "substantia-nigra", "subthalamic-nucleus"),
    "Dentate nucleus": ("dentate",),
}
"""Beginnings of the names of the nuclei that each view goes through."""


@dataclass(frozen=True)
class _Images:
    """Susceptibility and labels on one grid, in RAS+ order."""

    grid: SliceGrid
    chi: NDArray[np.float32]
    labels: NDArray[np.int32]


def nuclei_panel(page: ScanPage) -> Panel | None:
    """Zoom in on the nuclei that are labelled; None where none is."""
    record, output_dir = page.record, page.output_dir
    segmentation = record.output(output_dir, "dseg")
    chi, dseg = load_volume(record.output(output_dir, "chi")), load_volume(segmentation)
    if chi is None or dseg is None or chi[0].shape != dseg[0].shape:
        return None
    labels = np.rint(to_ras(dseg[0], chi[1])).astype(np.int32)
    grid = replace(make_grid(chi[0], chi[1]), oriented=chi[2])
    images = _Images(grid, to_ras(chi[0], chi[1]), labels)
    names = {index: plain_name(name) for index, name in region_names(segmentation).items()}
    views = [
        view
        for place, nuclei in PLACES.items()
        if (view := _view(place, images, [index for index, name in names.items() if name.startswith(nuclei)]))
    ]
    if not views:
        return None
    words = (
        "Axial slices through the labelled nuclei, in the window of all reports. Borders should be sharp and "
        "both sides alike, and the outlines below should follow what can be seen."
    )
    return Panel("nuclei", "Nuclei", words, tuple(views))


def _view(place: str, images: _Images, indices: Sequence[int]) -> View | None:
    inside = np.isin(images.labels, indices) if indices else np.zeros((1, 1, 1), bool)
    if not inside.any():
        return None
    grid = _box(images.grid, inside)
    levels = np.flatnonzero(inside.any(axis=(0, 1)))
    chosen = np.quantile(levels, np.linspace(0.15, 0.85, SLICES), method="nearest").astype(int)
    cuts = [Cut("axial", int(index)) for index in dict.fromkeys(chosen.tolist())]
    slices = {cut: take(images.chi, grid, cut) for cut in cuts}
    drawn = {cut: take(images.labels, grid, cut) for cut in cuts}
    plain = make_view(place, slices, grid, CHI)
    colours = {index: number % OUTLINE_COLOURS for number, index in enumerate(indices)}

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        return label_outlines(drawn[cut], colours, size_mm(grid, cut))

    return replace(plain, rows=plain.rows + make_view(place, slices, grid, CHI, overlay=overlay).rows)


def _box(grid: SliceGrid, inside: NDArray[np.bool_]) -> SliceGrid:
    """Return the part of the grid around some voxels."""
    lower, upper = [], []
    for axis, (size, edge) in enumerate(zip(inside.shape, grid.voxel_size, strict=True)):
        used = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = round(MARGIN_MM / edge)
        lower.append(max(0, int(used[0]) - margin))
        upper.append(min(size, int(used[-1]) + 1 + margin))
    return replace(grid, lower=(lower[0], lower[1], lower[2]), upper=(upper[0], upper[1], upper[2]))


PANELS = (PanelType("closer look at nuclei", nuclei_panel, lambda _: "it needs labelled nuclei"),)
