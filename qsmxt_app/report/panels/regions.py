"""Outlines of the regions over susceptibility, the magnitude and T1w."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType, View, make_view
from qsmxt_app.report.pictures import CHI, Window, outline
from qsmxt_app.report.slices import Cut, SliceGrid, size_mm
from qsmxt_app.report.volumes import Slices, Volumes

RELATIVE = Window(0.0, 1.0, "of the brightest tissue")
OUTLINE_COLOURS = 12
"""Number of classes `region-0`, `region-1`... in the style sheet."""

Overlay = Callable[[Cut], tuple[tuple[str, str], ...]]


def segmentation_panel(volumes: Volumes, anatomy: Volumes, record: ScanRecord) -> Panel | None:
    """Outlines of the regions over chi and the magnitude, and over T1w in its own space.

    Parameters
    ----------
    volumes, anatomy
        What lies on the grid of the map, and on that of T1w.
    record
        Tells the method.
    """
    wanted = (
        ("On χ", volumes, "chi", "dseg"),
        ("On the magnitude", volumes, "magnitude", "dseg"),
        ("On T1w", anatomy, "t1w", "dseg_t1w"),
    )
    views = tuple(
        _outlined(name, source, below, labels)
        for name, source, below, labels in wanted
        if below in source.slices and labels in source.slices
    )
    if not views:
        return None
    atlas, method = record.segmentation.atlas, record.segmentation.method
    made = f" They are from {atlas or method}." if atlas or method else ""
    words = (
        "The outlines should follow what can be seen, above all the deep grey nuclei, which are bright on "
        f"χ.{made}"
        " Those on χ and the magnitude are the voxels of the regional values."
    )
    return Panel("segmentation", "Regions", words, views)


def _outlined(name: str, source: Volumes, below: str, labels: str) -> View:
    grid, drawn = source.grid, source.slices[labels]
    assert grid is not None  # noqa: S101 - there are slices, so there is a grid
    found = sorted({int(label) for values in drawn.values() for label in np.unique(values) if label > 0})
    colours = {label: index % OUTLINE_COLOURS for index, label in enumerate(found)}

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        return label_outlines(drawn[cut], colours, size_mm(grid, cut)) if cut in drawn else ()

    if below == "chi":
        return make_view(name, source.slices[below], grid, CHI, overlay=overlay, by_plane=True)
    return relative_view(name, source, below, grid, overlay)


def label_outlines(
    values: NDArray[np.generic], colours: Mapping[int, int], size: tuple[float, float]
) -> tuple[tuple[str, str], ...]:
    """Trace every region of a slice; those of one colour together."""
    paths: dict[int, str] = {}
    for label in np.unique(values):
        if int(label) in colours:
            colour = colours[int(label)]
            paths[colour] = paths.get(colour, "") + outline(values == label, size)
    return tuple((f"region region-{colour}", path) for colour, path in paths.items())


def relative_view(name: str, source: Volumes, key: str, grid: SliceGrid, overlay: Overlay) -> View:
    """Paint a map relative to its brightest tissue."""
    top = source.statistics.get(key, {}).get("top", 0.0) or 1.0
    relative: Slices = {cut: values / np.float32(top) for cut, values in source.slices[key].items()}
    return make_view(name, relative, grid, RELATIVE, overlay=overlay, outside=False)


def why_no_regions(record: ScanRecord) -> str:
    """Say why there is no segmentation: switched off, failed, or never done."""
    segmentation = record.segmentation
    if segmentation.status == "failed":
        messages = [error.message for error in segmentation.errors if error.message]
        return f"a step failed: {'; '.join(messages) or 'see the log'}"
    return segmentation.reason or "none were recorded"


PANELS = (
    PanelType(
        "regions", lambda page: segmentation_panel(page.maps, page.anatomy, page.record), why_no_regions
    ),
)
