"""`index.html`: the participants, their state, and links to their pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.dataset import participant_labels
from qsmxt_app.records.scan import ScanRecord, read_records
from qsmxt_app.report import page_script
from qsmxt_app.report.findings import NO_RECORD, VERDICT_ORDER, find, verdict, worst
from qsmxt_app.report.panels.regional_values import regional_findings
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
    verdict: str
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
    write_text(
        path,
        render(
            "index.html",
            rows=rows,
            links=links,
            summary=_summary(rows),
            version=__version__,
            scripts=page_script.policy((), "index.js"),
            script=page_script.code("index.js"),
        ),
    )
    return path


def _summary(rows: Sequence[Row]) -> str:
    verdicts = Counter(row.verdict for row in rows)
    summary = ", ".join(f"{verdicts[one]} {one}" for one in VERDICT_ORDER if verdicts[one])
    return f"{len(rows)} participant{'s' * (len(rows) != 1)}: {summary}."


def _row(output_dir: Path, label: str, *, with_picture: bool) -> Row:
    name = f"sub-{label}"
    records = read_records(output_dir, label)
    page = f"{name}.html"
    level, judged, summary = _judge(output_dir, records)
    failed = sum(record.failed for record in records)
    state = f"{failed} of {len(records)} failed" if 0 < failed < len(records) else judged
    link = quote(page) if (output_dir / page).is_file() else ""
    picture = read_thumbnail(output_dir, label) if with_picture else ""
    return Row(name, link, level, judged, state, len(records), _quality(records), summary, picture)


def _quality(records: Sequence[ScanRecord]) -> str:
    """Say how many measures are beyond their limits; nothing where nothing was measured."""
    states = [measure.state for record in records for measure in record.quality.values()]
    beyond = [f"{states.count(state)} {words}" for state, words in _BEYOND if state in states]
    return ", ".join(beyond) or ("good" if "good" in states else "")


def _judge(output_dir: Path, records: Sequence[ScanRecord]) -> tuple[str, str, str]:
    """Return the level, the verdict and the first finding of the worst scan."""
    if not records:
        return "warning", NO_RECORD, "Nothing was recorded: not run yet, or stopped early."
    found = [[*find(record), *regional_findings(output_dir, record)] for record in records]
    verdicts = {verdict(record, worst(own)) for record, own in zip(records, found, strict=True)}
    findings = [finding for own in found for finding in own]
    level = worst(findings)
    first = next((finding.title for finding in findings if finding.level == level and level != "note"), "")
    return level, min(verdicts, key=VERDICT_ORDER.index), first
