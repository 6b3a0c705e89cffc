"""Quality measures of all scans, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app.report.quality import Measure, MeasureType, read_quality
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.scan_record import mapping, number, read_records
from qsmxt_app.report.study.group_record import GroupRecord

LIKENESS = MeasureType(
    "similarity",
    "Similarity to the template",
    "1",
    (0.5, 0.3),
    "Correlation of the scan's magnitude with the template, to which it was brought. Low where it does not "
    "lie upon it.",
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
    """Return how alike each scan is to the template, by its name."""
    told = mapping(record.outputs.get("similarity"))
    return {scan: Measure(LIKENESS, number(value)) for scan, value in told.items()}


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
            own = [alike[record.stem]] if record.stem in alike else []
            found = {one.kind.name: one for one in (*own, *read_quality(output_dir, record))}
            measured.append((record.stem, link, found))
    kinds = {name: measure.kind for _, _, found in measured for name, measure in found.items()}
    rows = [
        QualityRow(stem, link, [_cell(found.get(name)) for name in kinds]) for stem, link, found in measured
    ]
    return QualityTable([(_title(kind), kind.meaning) for kind in kinds.values()], rows)


def _title(kind: MeasureType) -> str:
    return f"{kind.title} [{kind.units}]" if kind.units not in ("", "1") else kind.title


def _cell(measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell("")
    level = measure.level if measure.level != "done" else ""
    return Cell(show_number(measure.value), measure.value, level)
