"""Panels of the labelled brain: the regions' outlines, and whether T1w and magnitude lie on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType, View, make_view
from qsmxt_app.report.pictures import CHI, Window, outline
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.slices import Cut, SliceGrid, size_mm
from qsmxt_app.report.volumes import Slices, Volumes

RELATIVE = Window(0.0, 1.0, "of the brightest tissue")
OUTLINE_COLOURS = 12
"""Number of classes `region-0`, `region-1`... in the style sheet."""

_Overlay = Callable[[Cut], tuple[tuple[str, str], ...]]


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


def registration_panel(anatomy: Volumes, record: ScanRecord) -> Panel | None:
    """T1w and the magnitude moved onto it, in turn: what does not move in the picture is aligned."""
    pair = (("T1w", "t1w"), ("Magnitude", "magnitude_in_t1w"))
    if anatomy.grid is None or any(key not in anatomy.slices for _, key in pair):
        return None
    border = _mask_outline(anatomy)
    views = tuple(_relative_view(name, anatomy, key, anatomy.grid, border) for name, key in pair)
    words = (
        f"{_how_aligned(record)} The surface of the brain and the ventricles should not jump between the two."
    )
    legend = (("mask", "outline of the brain on T1w"),) if "t1w_mask" in anatomy.slices else ()
    return Panel("registration", "T1w and magnitude", words, views, legend=legend, flip=True)


def _how_aligned(record: ScanRecord) -> str:
    alignment = record.segmentation.alignment
    if alignment.used == "header":
        return "The alignment of their headers was kept, because registration did not improve it."
    before, after = alignment.cost_before, alignment.cost_after
    if before is None or after is None:
        return "They were registered rigidly."
    change = f"from {show_number(before)} to {show_number(after)}"
    return f"They were registered rigidly, which changed the cost {change}."


def _outlined(name: str, source: Volumes, below: str, labels: str) -> View:
    grid, drawn = source.grid, source.slices[labels]
    assert grid is not None  # noqa: S101 - there are slices, so there is a grid
    found = sorted({int(label) for values in drawn.values() for label in np.unique(values) if label > 0})
    colours = {label: index % OUTLINE_COLOURS for index, label in enumerate(found)}

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        return _label_outlines(drawn[cut], colours, size_mm(grid, cut)) if cut in drawn else ()

    if below == "chi":
        return make_view(name, source.slices[below], grid, CHI, overlay=overlay, by_plane=True)
    return _relative_view(name, source, below, grid, overlay)


def _label_outlines(
    values: NDArray[np.float32], colours: Mapping[int, int], size: tuple[float, float]
) -> tuple[tuple[str, str], ...]:
    """Trace every region of a slice; those of one colour together."""
    paths: dict[int, str] = {}
    for label in np.unique(values):
        if int(label) in colours:
            colour = colours[int(label)]
            paths[colour] = paths.get(colour, "") + outline(values == label, size)
    return tuple((f"region region-{colour}", path) for colour, path in paths.items())


def _relative_view(name: str, source: Volumes, key: str, grid: SliceGrid, overlay: _Overlay) -> View:
    top = source.statistics.get(key, {}).get("top", 0.0) or 1.0
    relative: Slices = {cut: values / np.float32(top) for cut, values in source.slices[key].items()}
    return make_view(name, relative, grid, RELATIVE, overlay=overlay, outside=False)


def _mask_outline(anatomy: Volumes) -> _Overlay:
    masks, grid = anatomy.slices.get("t1w_mask", {}), anatomy.grid

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        if grid is None or cut not in masks:
            return ()
        return (("mask", outline(masks[cut], size_mm(grid, cut))),)

    return overlay


def why_no_regions(record: ScanRecord) -> str:
    """Say why there is no segmentation: switched off, failed, or never done."""
    told = record.segmentation
    if told.status == "failed":
        messages = [error.message for error in told.errors if error.message]
        return f"a step failed: {'; '.join(messages) or 'see the log'}"
    return told.reason or "none were recorded"


SEGMENTATION = PanelType(
    "regions", lambda page: segmentation_panel(page.maps, page.anatomy, page.record), why_no_regions
)
REGISTRATION = PanelType(
    "comparison of T1w and magnitude", lambda page: registration_panel(page.anatomy, page.record)
)
