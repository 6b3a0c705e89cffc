"""Quality measures of all scans, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app.records.group import GroupRecord
from qsmxt_app.records.open_values import number
from qsmxt_app.records.quality import Measure, state_of
from qsmxt_app.records.scan import read_records
from qsmxt_app.report.rendering import level, show_number

SIMILARITY_LIMITS = (0.5, 0.3)
SIMILARITY_TITLE = "Similarity to the template"
SIMILARITY_MEANING = (
    "Correlation of the scan's magnitude with the template, to which it was registered. Low where they are "
    "poorly aligned."
)


@dataclass(frozen=True)
class Cell:
    """One measure of one scan: as text, as a number to sort by, and how serious it is."""

    text: str
    value: float | None = None
    level: str = ""


@dataclass(frozen=True)
class QualityRow:
    """One scan."""

    scan: str
    link: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class QualityTable:
    """All scans; `head` is the title and the meaning of each measure."""

    head: Sequence[tuple[str, str]]
    rows: Sequence[QualityRow]


def similarities(record: GroupRecord) -> dict[str, Measure]:
    """Return how similar each scan is to the template, by its name."""
    values = {scan: number(value) for scan, value in record.outputs.get("similarity", {}).items()}
    return {
        scan: Measure(
            value,
            "1",
            SIMILARITY_LIMITS,
            state_of(value, SIMILARITY_LIMITS),
            SIMILARITY_TITLE,
            SIMILARITY_MEANING,
        )
        for scan, value in values.items()
    }


def quality_table(
    output_dir: Path, participants: Iterable[str], alike: Mapping[str, Measure]
) -> QualityTable:
    """Collect the quality measures of all scans from disk.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    participants
        Labels without `sub-`.
    alike
        Of `similarities`.
    """
    measured: list[tuple[str, str, dict[str, Measure]]] = []
    for label in participants:
        page = f"sub-{label}.html"
        link = quote(page) if (output_dir / page).is_file() else ""
        for record in read_records(output_dir, label):
            own = {"similarity": alike[record.stem]} if record.stem in alike else {}
            measured.append((record.stem, link, own | record.quality))
    kinds = {name: measure for _, _, found in measured for name, measure in found.items()}
    rows = [
        QualityRow(stem, link, [_cell(found.get(name)) for name in kinds]) for stem, link, found in measured
    ]
    return QualityTable([(_title(kind), kind.description) for kind in kinds.values()], rows)


def _title(kind: Measure) -> str:
    return f"{kind.title} [{kind.units}]" if kind.units not in ("", "1") else kind.title


def _cell(measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell("")
    own = level(measure)
    return Cell(show_number(measure.value), measure.value, own if own != "done" else "")
