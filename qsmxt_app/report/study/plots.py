"""Distributions of regional values as SVG: every scan a dot, with its median and quartiles."""

from __future__ import annotations

import numpy as np

from qsmxt_app.report.pictures import figure_uri, new_figure
from qsmxt_app.report.study.values import ALL, MapSummary, RegionSummary

REGIONS_PER_PLOT = 30
# of Wong (2011, Nat Methods 8:441): told apart by colour-blind readers too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4b5a6a")


def distribution_plots(summary: MapSummary) -> list[tuple[str, str]]:
    """Draw the values of every region of a map; return data URIs, each with words that describe it.

    Parameters
    ----------
    summary
        Of one map. More than `REGIONS_PER_PLOT` regions make several plots.
    """
    plots = []
    for first in range(0, len(summary.regions), REGIONS_PER_PLOT):
        regions = summary.regions[first : first + REGIONS_PER_PLOT]
        plots.append((_draw(summary, regions), f"{summary.title} of {len(regions)} regions, a dot each scan"))
    return plots


def _draw(summary: MapSummary, regions: tuple[RegionSummary, ...]) -> str:
    groups = sorted({group for region in summary.regions for group in region.values})
    height = 1.1 + len(regions) * max(0.3, 0.17 * len(groups))
    figure = new_figure(8.2, height)
    axes = figure.subplots()
    for row, region in enumerate(regions):
        for number, group in enumerate(groups):
            if group in region.values:
                offset = (number - (len(groups) - 1) / 2) * 0.75 / len(groups)
                _row(axes, row + offset, np.array(region.values[group]), COLOURS[number % len(COLOURS)])
    axes.set_yticks(range(len(regions)), [region.name for region in regions], fontsize=9)
    axes.set_ylim(len(regions) - 0.4, -0.6)
    axes.set_xlabel(f"{summary.title} [{summary.units}]" if summary.units else summary.title, fontsize=10)
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(True, axis="x", color="#d9dee5", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_axisbelow(True)
    if groups != [ALL]:
        for number, group in enumerate(groups):
            axes.plot([], [], "o", color=COLOURS[number % len(COLOURS)], label=group)
        figure.legend(fontsize=9, frameon=False, loc="outside upper left", ncols=min(4, len(groups)))
    return figure_uri(figure)


def _row(axes: object, place: float, values: np.ndarray, colour: str) -> None:
    low, middle, high = np.percentile(values, [25, 50, 75])
    # evenly spread instead of at random: the same values give the same picture
    spread = 0.09 * (np.arange(values.size) % 3 - 1) if values.size > 3 else np.zeros(values.size)
    axes.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")  # type: ignore[attr-defined]
    axes.plot([middle], [place], "|", color=colour, markersize=13, markeredgewidth=2.2)  # type: ignore[attr-defined]
    axes.plot(np.sort(values), place + spread, "o", color=colour, markersize=3.2, alpha=0.75, mew=0)  # type: ignore[attr-defined]
