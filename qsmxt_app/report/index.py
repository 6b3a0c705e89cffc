"""`index.html`: the participants, their state, and links to their pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.report.findings import MapFacts, find
from qsmxt_app.report.participant import worst
from qsmxt_app.report.record import Record, read_records
from qsmxt_app.report.rendering import render

_FACTS_UNKNOWN = MapFacts()


@dataclass(frozen=True)
class Row:
    """One participant in the list."""

    name: str
    link: str
    level: str
    state: str
    acquisitions: int
    summary: str


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
    rows = [_row(output_dir, folder.name) for folder in sorted(output_dir.glob("sub-*")) if folder.is_dir()]
    links = [
        (label, name)
        for label, name in (("Group report", "group.html"), ("Methods and references", "logs/CITATION.html"))
        if (output_dir / name).is_file()
    ]
    path = output_dir / "index.html"
    write_text(path, render("index.html", rows=rows, links=links))
    return path


def _row(output_dir: Path, name: str) -> Row:
    records = read_records(output_dir, name.removeprefix("sub-"))
    page = f"{name}.html"
    level, state, summary = _state(records)
    link = quote(page) if (output_dir / page).is_file() else ""
    return Row(name, link, level, state, len(records), summary)


def _state(records: Sequence[Record]) -> tuple[str, str, str]:
    if not records:
        return "warning", "no record", "Nothing was recorded: not run yet, or stopped early."
    findings = [finding for record in records for finding in find(record, _FACTS_UNKNOWN)]
    failed = sum(record.failed for record in records)
    level = worst(findings)
    first = next((finding.title for finding in findings if finding.level == level and level != "note"), "")
    if failed:
        return level, "failed" if failed == len(records) else f"{failed} of {len(records)} failed", first
    return level, "done" if level in ("", "note") else "done, with warnings", first
