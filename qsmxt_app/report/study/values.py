"""The regional values of all participants: distributions, by a column of participants.tsv, and outliers."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import QsmxtError
from qsmxt_app.group.outliers import LIMIT, modified_z_scores
from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.report.rendering import show_number

MOST_GROUPS = 6
ALL = "all"
MOST_OUTLIERS = 60


@dataclass(frozen=True)
class Value:
    """Mean of one map in one region of one scan."""

    participant: str
    scan: str
    atlas: str
    region: str
    map: str
    mean: float
    units: str
    group: str = ALL


@dataclass(frozen=True)
class RegionSummary:
    """One region and map over participants: its values by group, and numbers as text."""

    name: str
    values: Mapping[str, Sequence[float]]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class MapSummary:
    """All regions of one map."""

    key: str
    title: str
    units: str
    regions: tuple[RegionSummary, ...]


@dataclass(frozen=True)
class Outlier:
    """A value far from the others."""

    participant: str
    scan: str
    region: str
    map: str
    value: str
    median: str
    score: float


def read_values(path: Path, group_by: str) -> list[Value]:
    """Read the regional means of `group_stats.csv`; a missing or damaged table reads as an empty one.

    Parameters
    ----------
    path
        The tidy table.
    group_by
        Column that splits the values; empty for none.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_small(path))))
    except (QsmxtError, csv.Error):
        return []
    groups = group_names([row.get(group_by) or "" for row in rows] if group_by else [])
    found = []
    for row in rows:
        mean = finite_number(row.get("mean"))
        if mean is None:
            continue
        side = {"L": " left", "R": " right"}.get(row.get("hemisphere") or "", "")
        parts = [row.get(name) or "" for name in ("participant_id", "session_id", "acquisition", "run")]
        found.append(
            Value(
                parts[0],
                " ".join(filter(None, parts)),
                row.get("atlas") or "",
                f"{row.get('region') or '?'}{side}",
                row.get("map") or "",
                mean,
                row.get("units") or "",
                groups.get(row.get(group_by) or "", ALL) if group_by else ALL,
            )
        )
    return found


def group_names(cells: Sequence[str]) -> dict[str, str]:
    """Return the group of each cell: itself, or the third of the range where there are many numbers.

    Examples
    --------
    >>> group_names(["f", "m", "f", ""])
    {'': 'not known', 'f': 'f', 'm': 'm'}
    """
    different = sorted(set(cells))
    numbers = {cell: number for cell in different if (number := finite_number(cell)) is not None}
    known = [cell for cell in different if cell]
    names = {cell: cell or "not known" for cell in different}
    if len(known) <= MOST_GROUPS:
        return names
    if len(numbers) < len(known):
        # too many words to tell apart by colour
        return dict.fromkeys(different, ALL)
    low, high = np.quantile(list(numbers.values()), [1 / 3, 2 / 3])
    labels = (f"up to {low:.4g}", f"{low:.4g} to {high:.4g}", f"above {high:.4g}")
    thirds = {cell: labels[int(number > low) + int(number > high)] for cell, number in numbers.items()}
    return names | thirds


def map_title(name: str) -> str:
    """Return how a map is called; a table of another version may hold maps that this one does not know."""
    return MEASURED[name].title if name in MEASURED else name


def summarise(values: Iterable[Value]) -> list[MapSummary]:
    """Collect the values of each map and region, in the order of the table."""
    maps: dict[tuple[str, str], dict[str, list[Value]]] = {}
    for value in values:
        maps.setdefault((value.map, value.atlas), {}).setdefault(value.region, []).append(value)
    several = len({atlas for _, atlas in maps}) > 1
    summaries: list[MapSummary] = []
    for (name, atlas), regions in maps.items():
        units = next(iter(regions.values()))[0].units
        title = map_title(name) + (f" · {atlas}" if several and atlas else "")
        summaries.append(
            MapSummary(
                f"{name}-{len(summaries)}",
                title,
                units,
                tuple(_region(region, found) for region, found in regions.items()),
            )
        )
    return summaries


def outliers(values: Iterable[Value]) -> list[Outlier]:
    """Name the values that lie far from those of the other scans, the farthest first."""
    regions: dict[tuple[str, str, str], list[Value]] = {}
    for value in values:
        regions.setdefault((value.map, value.atlas, value.region), []).append(value)
    found = []
    for several in regions.values():
        means = [value.mean for value in several]
        for value, score in zip(several, modified_z_scores(means), strict=True):
            if abs(score) > LIMIT:
                found.append(
                    Outlier(
                        value.participant,
                        value.scan,
                        value.region,
                        map_title(value.map),
                        f"{show_number(value.mean)} {value.units}".strip(),
                        show_number(statistics.median(means)),
                        float(score),
                    )
                )
    return sorted(found, key=lambda one: -abs(one.score))


def _region(name: str, found: Sequence[Value]) -> RegionSummary:
    groups: dict[str, list[float]] = {}
    for value in found:
        groups.setdefault(value.group, []).append(value.mean)
    means = [value.mean for value in found]
    spread = statistics.stdev(means) if len(means) > 1 else None
    numbers = (statistics.fmean(means), spread, statistics.median(means), min(means), max(means))
    cells = (name, str(len(means)), *(show_number(number) for number in numbers))
    return RegionSummary(name, dict(sorted(groups.items())), cells)


def finite_number(cell: str | None) -> float | None:
    """Return the number that a cell of a table holds; None for anything else."""
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
