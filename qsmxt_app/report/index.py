"""`index.html`: the participants, their state, and links to their pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.dataset import participant_labels
from qsmxt_app.records.scan import ScanRecord, read_records
from qsmxt_app.report.findings import find
from qsmxt_app.report.panels.regional_values import regional_findings
from qsmxt_app.report.participant import worst
from qsmxt_app.report.rendering import render
from qsmxt_app.report.thumbnail import read_thumbnail

_BEYOND = (("bad", "poor"), ("look", "to review"))

MOST_PICTURES = 500
"""Participants beyond which the list has no pictures: at 3 kB each the page would load slowly."""


@dataclass(frozen=True)
class Row:
    """One participant in the list."""

    name: str
    link: str
    level: str
    state: str
    acquisitions: int
    quality: str
    summary: str
    picture: str


def build_index(output_dir: Path) -> Path:
    """Write the list of participants.

    Parameters
    ----------
    output_dir
        The derivative dataset.

    Returns
    -------
    pathlib.Path
        `OUTPUT_DIR/index.html`.
    """
    labels = participant_labels(output_dir)
    rows = [_row(output_dir, label, with_picture=len(labels) <= MOST_PICTURES) for label in labels]
    links = [
        (label, name)
        for label, name in (("Group report", "group.html"), ("Methods and references", "logs/CITATION.html"))
        if (output_dir / name).is_file()
    ]
    path = output_dir / "index.html"
    write_text(path, render("index.html", rows=rows, links=links, summary=_summary(rows)))
    return path


def _summary(rows: Sequence[Row]) -> str:
    failed, doubted = (sum(row.level == level for row in rows) for level in ("error", "warning"))
    review = "needs review" if doubted == 1 else "need review"
    states = ((len(rows) - failed - doubted, "done"), (doubted, review), (failed, "failed"))
    summary = ", ".join(f"{count} {words}" for count, words in states if count)
    return f"{len(rows)} participant{'s' * (len(rows) != 1)}: {summary}."


def _row(output_dir: Path, label: str, *, with_picture: bool) -> Row:
    name = f"sub-{label}"
    records = read_records(output_dir, label)
    page = f"{name}.html"
    level, state, summary = _state(output_dir, records)
    link = quote(page) if (output_dir / page).is_file() else ""
    picture = read_thumbnail(output_dir, label) if with_picture else ""
    return Row(name, link, level, state, len(records), _quality(records), summary, picture)


def _quality(records: Sequence[ScanRecord]) -> str:
    """Say how many measures are beyond their limits; nothing where nothing was measured."""
    states = [measure.state for record in records for measure in record.quality.values()]
    beyond = [f"{states.count(state)} {words}" for state, words in _BEYOND if state in states]
    return ", ".join(beyond) or ("good" if "good" in states else "")


def _state(output_dir: Path, records: Sequence[ScanRecord]) -> tuple[str, str, str]:
    if not records:
        return "warning", "no record", "Nothing was recorded: not run yet, or stopped early."
    findings = [
        finding for record in records for finding in (*find(record), *regional_findings(output_dir, record))
    ]
    failed = sum(record.failed for record in records)
    level = worst(findings)
    first = next((finding.title for finding in findings if finding.level == level and level != "note"), "")
    if failed:
        return level, "failed" if failed == len(records) else f"{failed} of {len(records)} failed", first
    return level, "done" if level in ("", "note") else "done, with warnings", first
