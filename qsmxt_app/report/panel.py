"""What a section of an acquisition is made of: slices as pictures, views of one map, tables, plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.pictures import Window, colourise, encode
from qsmxt_app.report.slices import PLANES, Cut, SliceGrid, size_mm
from qsmxt_app.report.volumes import Slices, Volumes


@dataclass(frozen=True)
class Tile:
    """One slice as a picture, with the letters of its sides, its place, and outlines drawn over it."""

    image: str
    alt: str
    sides: tuple[str, str]
    position: str
    width: float
    height: float
    paths: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class View:
    """One map: rows of tiles that share a colour bar. A view without a window has no bar."""

    name: str
    rows: tuple[tuple[Tile, ...], ...]
    window: Window | None
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under column headings; the first cell of a row is its heading."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Panel:
    """A heading, a sentence on how to read it, and one or more views to choose from.

    Attributes
    ----------
    key
        Part of the address of the panel.
    views
        One is shown at a time. Of a `flip` panel, all lie over one another and are shown in turn.
    legend
        Style class and words of each outline.
    plots
        Data URI and words of each plot.
    table
        Numbers under the pictures.
    """

    key: str
    title: str
    text: str
    views: tuple[View, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    plots: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    flip: bool = False


@dataclass(frozen=True)
class ScanPage:
    """All that a panel can be made from.

    Attributes
    ----------
    output_dir
        The derivative dataset.
    record
        Of the scan.
    maps, anatomy, coarse
        Images on the grid of the map, on that of T1w, and on a coarser one.
    """

    output_dir: Path
    record: ScanRecord
    maps: Volumes
    anatomy: Volumes
    coarse: Volumes


@dataclass(frozen=True)
class PanelType:
    """A panel before it is made.

    Attributes
    ----------
    missing
        What the page names where the panel cannot be made: `field map`.
    make
        Makes it; None where what it shows is not there.
    why_missing
        Says why it is not there, where the record tells; else empty.
    """

    missing: str
    make: Callable[[ScanPage], Panel | None]
    why_missing: Callable[[ScanRecord], str] = lambda _: ""

    def absence(self, record: ScanRecord) -> str:
        """Say in a sentence that the panel is missing, and why."""
        if reason := self.why_missing(record):
            return f"No {self.missing}: {reason}."
        return (
            f"No {self.missing}{' was written, because a step failed' if record.failed else ' was recorded'}."
        )


def make_view(
    name: str,
    slices: Slices,
    grid: SliceGrid,
    window: Window,
    *,
    by_plane: bool = False,
    caption: str = "",
    overlay: Callable[[Cut], tuple[tuple[str, str], ...]] = lambda _: (),
    outside: bool = True,
) -> View:
    """Paint the slices of a map.

    Parameters
    ----------
    name
        Of the map, for the switch and for the description of each picture.
    slices, grid
        The map, and where it lies.
    window
        Range and colours.
    by_plane
        One row a plane; otherwise all slices in one row.
    overlay
        Gives style class and SVG path of the outlines over a slice.
    outside
        Whether voxels that are zero are outside the map, and black.
    """
    tiles = {
        cut: _tile(name, cut, colourise(values, window, outside=outside), grid, overlay(cut))
        for cut, values in slices.items()
    }
    rows = [tuple(tile for cut, tile in tiles.items() if cut.plane == plane) for plane in PLANES]
    if not by_plane:
        rows = [tuple(tiles.values())]
    return View(name, tuple(row for row in rows if row), window, caption)


def views_of(volumes: Volumes, *maps: tuple[str, str, Window, str]) -> tuple[View, ...]:
    """Paint those maps that there are: key, name, window, caption."""
    return tuple(
        make_view(name, volumes.slices[key], volumes.grid, window, caption=caption)
        for key, name, window, caption in maps
        if key in volumes.slices and volumes.grid is not None
    )


def _tile(
    name: str,
    cut: Cut,
    painted: NDArray[np.uint8],
    grid: SliceGrid,
    paths: tuple[tuple[str, str], ...],
) -> Tile:
    size = size_mm(grid, cut)
    position = cut.position(grid)
    left, right = cut.sides if grid.oriented else ("", "")
    where = f", {left} on the left and {right} on the right side" if grid.oriented else ""
    return Tile(
        image=encode(painted, size),
        alt=f"{name}, {cut.plane} slice at {position}{where}",
        sides=(left, right),
        position=position,
        width=round(size[0], 1),
        height=round(size[1], 1),
        paths=tuple((kind, path) for kind, path in paths if path),
    )
