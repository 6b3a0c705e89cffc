"""The statistics of regional values: what was found, a plot and a table for every term of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from qsmxt_app.records.group import RegionalModel
from qsmxt_app.report.pictures import figure_uri
from qsmxt_app.report.region_names import SIDES
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.study.values import finite_number, map_title, read_results

SIGNIFICANT = 0.05
REGIONS_PER_PLOT = 20
HEAD = ("Estimate", "95 % CI", "Effect size", "p", "p corrected", "Scans")
_CORRECTIONS = {
    "fdr": "false discovery rate, Benjamini-Hochberg",
    "holm": "family-wise error, Holm",
    "bonferroni": "family-wise error, Bonferroni",
}
_DOUBTFUL = {
    "exclude": "left out of their region, since they say little about the tissue; counted under remarks",
    "include": "kept, although they say little about the tissue; counted under remarks",
}
_INK, _SOFT = "#0b5c6b", "#7c8896"
_MARKERS = {"L": "o", "R": "s", "": "D"}


@dataclass(frozen=True)
class RegionEstimate:
    """One coefficient of one region, and its numbers as text in the order of `HEAD`."""

    region: str
    side: str
    value: float
    low: float
    high: float
    significant: bool
    cells: tuple[str, ...]
    remarks: str

    @property
    def name(self) -> str:
        """Region and side."""
        return " ".join(filter(None, (self.region, SIDES.get(self.side, ""))))


@dataclass(frozen=True)
class EffectOnPage:
    """One term: what it means and where it was found, plots with words that describe them, and its table."""

    name: str
    summary: str
    plots: Sequence[tuple[str, str]]
    rows: Sequence[RegionEstimate]


@dataclass(frozen=True)
class StatisticsOnPage:
    """The section of the page: what was fitted, what to keep in mind, and each term."""

    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    effects: Sequence[EffectOnPage]
    table: str


def statistics_section(output_dir: Path, model: RegionalModel | None) -> StatisticsOnPage | None:
    """Return what the page shows of a model; a missing or damaged table reads as an empty one."""
    if model is None:
        return None
    table = output_dir / Path(model.table).name
    estimates = _read(table)
    effects = [_effect(name, model, estimates.get(name, [])) for name in model.effects]
    return StatisticsOnPage(_facts(model), model.warnings, effects, table.name if estimates else "")


def _read(table: Path) -> dict[str, list[RegionEstimate]]:
    found: dict[str, list[RegionEstimate]] = {}
    for row in read_results(table):
        numbers = [finite_number(row.get(name)) for name in ("estimate", "ci_low", "ci_high")]
        value, low, high = numbers
        if value is None or low is None or high is None:
            continue
        side = row.get("hemisphere") or ""
        corrected = finite_number(row.get("p_corrected"))
        kind = "g" if row.get("effect_size_kind") == "Hedges g" else "r"
        found.setdefault(row.get("term") or "", []).append(
            RegionEstimate(
                row.get("region") or "?",
                side if side in SIDES else "",
                value,
                low,
                high,
                corrected is not None and corrected < SIGNIFICANT,
                (
                    show_number(value),
                    f"{show_number(low)} to {show_number(high)}",
                    f"{kind} = {show_number(finite_number(row.get('effect_size')), 2)}",
                    show_number(finite_number(row.get("p")), 2),
                    show_number(corrected, 2),
                    row.get("n_scans") or "",
                ),
                (row.get("remarks") or "").replace("n/a", ""),
            )
        )
    return found


def _facts(model: RegionalModel) -> list[tuple[str, str]]:
    sizes = [
        f"{name}: {', '.join(f'{level} {size}' for level, size in levels.items())}"
        for name, levels in model.group_sizes.items()
    ]
    centres = [f"{name}: {show_number(centre)}" for name, centre in model.centres.items()]
    correction = _CORRECTIONS.get(model.correction, model.correction)
    facts = (
        ("Model", model.formula),
        ("Values", f"{model.value} of {map_title(model.measure)} in each region"),
        ("Participants", f"{model.participants} ({model.scans} scans)"),
        ("Groups", "; ".join(sizes)),
        ("Means, to which numbers are relative", "; ".join(centres)),
        ("Fitted by", "mixed model, random intercept" if model.mixed else "ordinary least squares"),
        ("p corrected over", f"{model.regions} regions, each term by itself ({correction})"),
        ("Doubtful values", _DOUBTFUL.get(model.doubtful, model.doubtful)),
        ("Not fitted", "; ".join(f"{name}: {why}" for name, why in model.not_fitted.items())),
    )
    return [(name, value) for name, value in facts if value]


def _effect(name: str, model: RegionalModel, rows: Sequence[RegionEstimate]) -> EffectOnPage:
    found = model.differing.get(name, ())
    where = f"{len(found)} of {model.regions} regions: {', '.join(found)}." if found else ""
    summary = where or (
        f"In none of {model.regions} regions. This does not show that there is no effect: the confidence "
        "intervals tell which effects remain possible."
    )
    names = list(dict.fromkeys(row.region for row in rows))
    plots = []
    for first in range(0, len(names), REGIONS_PER_PLOT):
        shown = names[first : first + REGIONS_PER_PLOT]
        per_unit = " per unit" if model.centres.keys() & name.split(":") else ""
        regions = {one: [row for row in rows if row.region == one] for one in shown}
        picture = _plot(regions, f"{model.units}{per_unit}")
        plots.append((picture, f"Estimates of {name} with 95 % confidence intervals in {len(shown)} regions"))
    return EffectOnPage(
        name, f"p < {SIGNIFICANT:g} after correction: {summary[0].lower()}{summary[1:]}", plots, rows
    )


def _plot(regions: Mapping[str, Sequence[RegionEstimate]], units: str) -> str:
    """Draw estimates with their intervals, both sides in one row; filled where significant."""
    # as wide as a telephone, so that letters keep their size there
    figure = Figure(figsize=(4.2, 1.2 + 0.34 * len(regions)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.axvline(0, color=_SOFT, linewidth=1)
    for row, estimates in enumerate(regions.values()):
        for number, one in enumerate(estimates):
            _draw(axes, row + 0.26 * (number - (len(estimates) - 1) / 2), one)
    axes.set_yticks(range(len(regions)), list(regions), fontsize=10)
    axes.set_ylim(len(regions) - 0.4, -0.6)
    axes.set_xlabel(f"Estimate [{units}]" if units else "Estimate", fontsize=10)
    axes.tick_params(axis="x", labelsize=9)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(True, axis="x", color="#d9dee5", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_axisbelow(True)
    sides = {one.side for estimates in regions.values() for one in estimates if one.side}
    for side in sorted(sides):
        axes.plot([], [], _MARKERS[side], color=_SOFT, label=SIDES[side])
    axes.plot([], [], "D", color=_INK, label=f"p < {SIGNIFICANT:g}")
    figure.legend(fontsize=9, frameon=False, loc="outside upper left", ncols=3, handletextpad=0.2)
    return figure_uri(figure)


def _draw(axes: Axes, place: float, one: RegionEstimate) -> None:
    colour = _INK if one.significant else _SOFT
    axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1.6)
    face = colour if one.significant else "white"
    marker = _MARKERS[one.side]
    axes.plot([one.value], [place], marker, color=colour, markerfacecolor=face, markersize=5)
