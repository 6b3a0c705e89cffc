"""The panel of regional values: each nucleus beside what the literature expects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.findings import Finding
from qsmxt_app.report.panel import Panel, PanelType, Table
from qsmxt_app.report.pictures import figure_uri, new_figure
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.sign import AGREEING_NUCLEI, iron_rich_nuclei
from qsmxt_app.segment.expected_values import Compared, compare, read_regional_values

_COLOURS = {"L": "#0b5c6b", "R": "#8a4b08", "": "#3b3f46"}
_SIDES = {"L": "left", "R": "right", "": "both sides"}
_HEIGHT_OF_A_ROW = 0.26


def regional_values_panel(output_dir: Path, record: ScanRecord) -> Panel | None:
    """Medians and quartiles of the nuclei over the expected ranges, and the numbers below.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Names the table of regional values.
    """
    compared = compare(read_regional_values(record.output(output_dir, "stats")))
    if not compared:
        return None
    words = (
        "Susceptibility relative to white matter: median and quartiles of each nucleus. The bands are the "
        "range expected in healthy adults from tissue iron (Hallgren and Sourander, 1958); it is "
        "lower in children. They are not reference values of this scanner or method; a value outside needs "
        "review."
    )
    alt = "Median and quartiles of susceptibility of each nucleus, left and right, over expected ranges"
    rows = [
        (
            _name(one),
            show_number(1000 * one.median),
            f"{show_number(1000 * one.low)} to {show_number(1000 * one.high)}",
            f"{show_number(1000 * one.expected.low)} to {show_number(1000 * one.expected.high)}",
            "inside" if one.inside else "outside",
        )
        for one in compared
    ]
    table = Table(("Region", "Median [ppb]", "Quartiles [ppb]", "Expected [ppb]", "Median is"), rows)
    return Panel("values", "Regional values", words, plots=((_plot(compared), alt),), table=table)


def regional_findings(output_dir: Path, record: ScanRecord) -> tuple[Finding, ...]:
    """Say when nuclei that hold iron are diamagnetic: the sign of the phase, or the labels, are wrong."""
    rich, dark = iron_rich_nuclei(output_dir, record)
    if not rich or dark < AGREEING_NUCLEI * rich:
        return ()
    return (
        Finding(
            "warning",
            f"{dark} of {rich} iron-rich nuclei are more diamagnetic than white matter",
            "Iron makes tissue more paramagnetic. Either the phase has the opposite sign: "
            "multiply the phase images by -1 and run again. Or the regions are misaligned: check "
            "their outlines.",
        ),
    )


def _name(one: Compared) -> str:
    words = one.value.name.replace("-", " ")
    return f"{words[:1].upper()}{words[1:]}, {_SIDES[one.value.hemisphere]}"


def _plot(compared: Sequence[Compared]) -> str:
    figure = new_figure(4.8, 0.9 + _HEIGHT_OF_A_ROW * len(compared))
    axes = figure.subplots()
    for row, one in enumerate(compared):
        low, high = 1000 * one.expected.low, 1000 * one.expected.high
        axes.barh(row, high - low, left=low, height=0.8, color="#dfe6ec", linewidth=0)
        colour = _COLOURS[one.value.hemisphere]
        axes.plot([1000 * one.low, 1000 * one.high], [row, row], color=colour, linewidth=2.2)
        # outside the range by shape as well as by place
        marker = "o" if one.inside else "X"
        axes.plot(1000 * one.median, row, marker, color=colour, markersize=6)
    axes.axvline(0, color="#5b6470", linewidth=0.8)
    axes.set_yticks(range(len(compared)), [_name(one) for one in compared], fontsize=9)
    axes.set_ylim(len(compared) - 0.5, -0.5)
    axes.set_xlabel("χ relative to white matter (ppb)", fontsize=10)
    axes.tick_params(axis="x", labelsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure_uri(figure)


PANELS = (
    PanelType(
        "regional values",
        lambda page: regional_values_panel(page.output_dir, page.record),
        lambda _: "they need labelled nuclei and white matter",
    ),
)
