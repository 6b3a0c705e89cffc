"""`index.html`: the participants, their state, and links to their pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.dataset import participant_labels
from qsmxt_app.errors import QsmxtError
from qsmxt_app.group.ratings import FOLDER, RATINGS, Rating, read_ratings
from qsmxt_app.records.group import read_group_record
from qsmxt_app.records.scan import ScanRecord, read_records
from qsmxt_app.report import page_script
from qsmxt_app.report.findings import NO_RECORD, VERDICT_ORDER, worst
from qsmxt_app.report.judgement import judge
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
    group: str
    rating: str


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
    record = read_group_record(output_dir)
    groups, ratings = record.groups if record else {}, _ratings(output_dir)
    rows = [
        _row(
            output_dir,
            label,
            group=groups.get(f"sub-{label}", ""),
            ratings=ratings,
            with_picture=len(labels) <= MOST_PICTURES,
        )
        for label in labels
    ]
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
            group_by=record.group_by if record else "",
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


def _ratings(output_dir: Path) -> dict[str, Rating]:
    """Return the ratings that lie in the output folder, by scan; nothing where they cannot be read."""
    try:
        return read_ratings(output_dir / FOLDER)
    except QsmxtError:
        return {}


def _row(
    output_dir: Path, label: str, *, group: str, ratings: Mapping[str, Rating], with_picture: bool
) -> Row:
    name = f"sub-{label}"
    records = read_records(output_dir, label)
    page = f"{name}.html"
    level, judged, summary = _judge(output_dir, records)
    failed = sum(record.failed for record in records)
    state = f"{failed} of {len(records)} failed" if 0 < failed < len(records) else judged
    link = quote(page) if (output_dir / page).is_file() else ""
    picture = read_thumbnail(output_dir, label) if with_picture else ""
    rated = [ratings[record.stem].rating for record in records if record.stem in ratings]
    rating = max(rated, key=RATINGS.index, default="")
    quality = _quality(records)
    return Row(name, link, level, judged, state, len(records), quality, summary, picture, group, rating)


def _quality(records: Sequence[ScanRecord]) -> str:
    """Say how many measures are beyond their limits; nothing where nothing was measured."""
    states = [measure.state for record in records for measure in record.quality.values()]
    beyond = [f"{states.count(state)} {words}" for state, words in _BEYOND if state in states]
    return ", ".join(beyond) or ("good" if "good" in states else "")


def _judge(output_dir: Path, records: Sequence[ScanRecord]) -> tuple[str, str, str]:
    """Return the level, the verdict and the first finding of the worst scan."""
    if not records:
        return "warning", NO_RECORD, "Nothing was recorded: not run yet, or stopped early."
    judged = [judge(output_dir, record) for record in records]
    findings = [finding for one in judged for finding in one.findings]
    level = worst(findings)
    first = next((finding.title for finding in findings if finding.level == level and level != "note"), "")
    return level, min((one.verdict for one in judged), key=VERDICT_ORDER.index), first
