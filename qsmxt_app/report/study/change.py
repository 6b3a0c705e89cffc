"""Changes between sessions, for the strips of the page."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.report.region_names import SIDES, region_kind
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.study.values import (
    ALL,
    MapSummary,
    Value,
    finite_number,
    group_names,
    read_results,
    summarise,
)


@dataclass(frozen=True)
class Changes:
    """The changes, their groups, how many participants they are of, and their median error."""

    summaries: Sequence[MapSummary]
    groups: Sequence[str]
    participants: int
    error: str


def read_changes(path: Path, groups: Mapping[str, str]) -> Changes | None:
    """Read the table of changes; None where there is none, or it is damaged.

    Parameters
    ----------
    path
        `group_desc-change_stats.tsv`.
    groups
        Cell of the column of groups of each participant.
    """
    rows = read_results(path)
    names = group_names(list(groups.values()))
    values = [value for row in rows if (value := _value(row, groups, names))]
    errors = [error for row in rows if (error := finite_number(row.get("error"))) is not None]
    if not values:
        return None
    people = len({value.participant for value in values})
    shown = show_number(statistics.median(errors), 2) if errors else ""
    return Changes(summarise(values), sorted({value.group for value in values}), people, shown)


def _value(row: Mapping[str, str], groups: Mapping[str, str], names: Mapping[str, str]) -> Value | None:
    change = finite_number(row.get("change"))
    if change is None:
        return None
    who, name, side = (row.get(column) or "" for column in ("participant_id", "region", "hemisphere"))
    unit = f"ppm per {row.get('per') or 'session'}"
    return Value(
        who,
        who,
        row.get("atlas") or "",
        name or "?",
        side if side in SIDES else "",
        region_kind(name, row.get("index") or ""),
        "Change of \N{GREEK SMALL LETTER CHI}",
        change,
        unit,
        names[groups[who]] if who in groups else ALL,
    )
