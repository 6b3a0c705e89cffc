"""Quality measures of all scans, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app.report.record import Record, mapping, number, read_records, text
from qsmxt_app.report.rendering import show_number

QUALITY_SUFFIX = "_desc-qsm_quality.json"
_LEVELS = {"bad": "error", "look": "warning"}
# what every record tells, for scans without measures of their own
_RECORDED = {
    "mask volume": ("mask", "volume_ml", "ml"),
    "unreliable phase": ("mask", "hole_fraction", "of the mask"),
    "field error": ("field", "noise_median_hz", "Hz"),
    "trusted field": ("field", "trusted_fraction", "of the mask"),
    "iterations": ("tgv", "iterations", ""),
}


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
    """All scans; `head` is name and unit of each measure."""

    head: Sequence[tuple[str, str]]
    rows: Sequence[QualityRow]


def quality_table(output_dir: Path, participants: Iterable[str]) -> QualityTable:
    """Collect the quality measures of all scans from disk.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    participants
        Labels without `sub-`.
    """
    measured: list[tuple[str, str, dict[str, Mapping[str, object]]]] = []
    for label in participants:
        page = f"sub-{label}.html"
        link = quote(page) if (output_dir / page).is_file() else ""
        for record in read_records(output_dir, label):
            measured.append((record.stem, link, _measures(output_dir, label, record)))  # noqa: PERF401
    head = {name: text(one.get("units")) for _, _, found in measured for name, one in found.items()}
    rows = [
        QualityRow(stem, link, [_cell(found.get(name)) for name in head]) for stem, link, found in measured
    ]
    return QualityTable([(name.replace("_", " "), unit) for name, unit in head.items()], rows)


def _measures(output_dir: Path, label: str, record: Record) -> dict[str, Mapping[str, object]]:
    for path in sorted((output_dir / f"sub-{label}").glob(f"**/{record.stem}{QUALITY_SUFFIX}")):
        try:
            content = mapping(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            continue
        return {name: mapping(one) for name, one in mapping(content.get("measures")).items()}
    found: dict[str, Mapping[str, object]] = {}
    for name, (section, key, unit) in _RECORDED.items():
        value = number(getattr(record, section).get(key))
        if value is not None:
            found[name] = {"value": value, "units": unit}
    return found


def _cell(measure: Mapping[str, object] | None) -> Cell:
    value = number((measure or {}).get("value"))
    if value is None:
        return Cell("")
    return Cell(show_number(value), value, _LEVELS.get(text((measure or {}).get("state")), ""))
