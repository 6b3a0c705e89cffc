"""Regional values as a strip for each region: places in per cent of its width, letters and symbols in pixels.

A strip is thus as readable on a telephone as on a wide screen, which a scaled picture is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from qsmxt_app.report.region_names import SIDES
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.study.values import RegionSummary, SideSummary

MOST_DOTS = 30
"""Values of a side and group of which each is drawn; of more, a box and what lies beyond its whiskers."""
COLOURS = 7
"""Number of classes `group-0`, `group-1`... in the style sheet."""
_LANE, _MARGIN = 10, 5
_WHISKER = 1.5
_ROOM = 0.04


@dataclass(frozen=True)
class Strip:
    """One region: its name, a drawing, and what the drawing shows in words."""

    name: str
    height: int
    drawing: Markup
    words: str


@dataclass(frozen=True)
class StripChart:
    """Regions below each other on one axis; `ticks` are places in per cent with their labels."""

    strips: tuple[Strip, ...]
    ticks: tuple[tuple[str, str], ...]


def strip_chart(regions: Sequence[RegionSummary], groups: Sequence[str], units: str) -> StripChart:
    """Draw the values of regions.

    Parameters
    ----------
    regions
        Of one map and kind.
    groups
        In the order of their colours.
    units
        Of the map.
    """
    every = [
        value
        for region in regions
        for side in region.sides
        for values in side.values.values()
        for value in values
    ]
    scale = _Scale.of(every)
    return StripChart(tuple(_strip(region, groups, units, scale) for region in regions), scale.ticks())


@dataclass(frozen=True)
class _Scale:
    """From values to per cent of the width."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Scale:
        low, high = min(values), max(values)
        room = _ROOM * (high - low) or abs(high) or 1.0
        return cls(low - room, high + room)

    def __call__(self, value: float) -> str:
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    def ticks(self) -> tuple[tuple[str, str], ...]:
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return tuple((self(tick), show_number(tick)) for tick in found if self.low <= tick <= self.high)


def _strip(region: RegionSummary, groups: Sequence[str], units: str, scale: _Scale) -> Strip:
    lanes = [
        (side, number, side.values[group])
        for number, group in enumerate(groups)
        for side in region.sides
        if group in side.values
    ]
    height = 2 * _MARGIN + _LANE * len(lanes)
    parts = [f'<line class="axis" x1="{place}" x2="{place}" y2="{height}"/>' for place, _ in scale.ticks()]
    for lane, (side, number, values) in enumerate(lanes):
        middle = _MARGIN + _LANE * lane + _LANE // 2
        marks = "".join(_marks(np.array(values), side.side, middle, scale))
        parts.append(f'<g class="group-{number % COLOURS}">{marks}</g>')
    drawing = Markup("".join(parts))  # noqa: S704 - numbers and names of classes alone
    words = ", ".join(_words(side, units) for side in region.sides)
    return Strip(region.name, height, drawing, words)


def _words(side: SideSummary, units: str) -> str:
    _, count, _, _, median, *_ = side.cells
    return " ".join(filter(None, (SIDES.get(side.side, ""), "median", median, units, f"of {count}")))


def _marks(values: np.ndarray, side: str, middle: int, scale: _Scale) -> Iterator[str]:
    low, median, high = (float(value) for value in np.percentile(values, [25, 50, 75]))
    shown = values
    if values.size > MOST_DOTS:
        reach = _WHISKER * (high - low)
        inside = values[(values >= low - reach) & (values <= high + reach)]
        shown = values[(values < low - reach) | (values > high + reach)]
        ends = f'x1="{scale(inside.min())}" x2="{scale(inside.max())}"'
        yield f'<line class="whisker" {ends} y1="{middle}" y2="{middle}"/>'
    if values.size > 1:
        yield f'<line class="box" x1="{scale(low)}" x2="{scale(high)}" y1="{middle}" y2="{middle}"/>'
        place = scale(median)
        yield f'<line class="median" x1="{place}" x2="{place}" y1="{middle - 5}" y2="{middle + 5}"/>'
    yield from (_symbol(side, scale(float(value)), middle) for value in shown)


def _symbol(side: str, place: str, middle: int) -> str:
    """Draw a circle for left, a square for right, and a diamond for what lies on both sides."""
    if side == "L":
        return f'<circle cx="{place}" cy="{middle}" r="3"/>'
    if side == "R":
        return f'<rect x="{place}" y="{middle - 3}" width="5.5" height="5.5" transform="translate(-2.75)"/>'
    return f'<svg x="{place}" y="{middle}" overflow="visible"><path d="M0-4l4 4-4 4-4-4z"/></svg>'
