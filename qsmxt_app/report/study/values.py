"""The regional values of all participants: distributions, by a column of participants.tsv, and outliers."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qsmxt_app.bids.small_file import check_regular, read_small
from qsmxt_app.errors import QsmxtError
from qsmxt_app.group.outliers import FEWEST, LIMIT, modified_z_scores
from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.report.region_names import KINDS, SIDES, region_kind
from qsmxt_app.report.rendering import show_number

MOST_GROUPS = 6
ALL = "all"
MOST_OUTLIERS = 60


@dataclass(frozen=True, slots=True)
class Value:
    """Mean of one map in one region of one scan."""

    participant: str
    scan: str
    atlas: str
    region: str
    side: str
    kind: str
    map: str
    mean: float
    units: str
    group: str = ALL

    @property
    def title(self) -> str:
        """Region and side."""
        return " ".join(filter(None, (self.region, SIDES.get(self.side, ""))))


@dataclass(frozen=True)
class SideSummary:
    """A region on one side over participants: its values by group, and numbers as text."""

    side: str
    values: Mapping[str, Sequence[float]]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class RegionSummary:
    """One region: left and right, or one that lies on both sides."""

    name: str
    sides: tuple[SideSummary, ...]


@dataclass(frozen=True)
class MapSummary:
    """All regions of one map, by kind in the order of `KINDS`."""

    key: str
    title: str
    units: str
    kinds: Mapping[str, tuple[RegionSummary, ...]]


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
        groups = group_names(sorted(_cells(path, group_by))) if group_by else {}
        return list(_values(path, group_by, groups))
    except (QsmxtError, OSError, ValueError, csv.Error):
        return []


def read_results(path: Path) -> list[dict[str, str]]:
    """Read a table of results (TSV); a missing or damaged one reads as an empty one."""
    try:
        return list(csv.DictReader(io.StringIO(read_small(path)), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (QsmxtError, csv.Error):
        return []


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows one by one: the table of a large study has hundreds of thousands."""
    check_regular(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        yield from csv.DictReader(stream)


def _cells(path: Path, column: str) -> set[str]:
    return {row.get(column) or "" for row in _rows(path)}


def _values(path: Path, group_by: str, groups: Mapping[str, str]) -> Iterator[Value]:
    kinds: dict[tuple[str, str], str] = {}
    for row in _rows(path):
        mean = finite_number(row.get("mean"))
        if mean is None:
            continue
        name, side = row.get("region") or "?", row.get("hemisphere") or ""
        number = row.get("index") or ""
        if (name, number) not in kinds:
            kinds[name, number] = region_kind(name, number)
        parts = [row.get(part) or "" for part in ("participant_id", "session_id", "acquisition", "run")]
        yield Value(
            parts[0],
            " ".join(filter(None, parts)),
            row.get("atlas") or "",
            name,
            side if side in SIDES else "",
            kinds[name, number],
            row.get("map") or "",
            mean,
            row.get("units") or "",
            groups.get(row.get(group_by) or "", ALL) if group_by else ALL,
        )


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
    """Collect the values of each map and region, regions of a kind in the order of the table."""
    maps: dict[tuple[str, str], dict[tuple[str, str], list[Value]]] = {}
    for value in values:
        regions = maps.setdefault((value.map, value.atlas), {})
        regions.setdefault((value.kind, value.region), []).append(value)
    several = len({atlas for _, atlas in maps}) > 1
    summaries: list[MapSummary] = []
    for (name, atlas), regions in maps.items():
        units = next(iter(regions.values()))[0].units
        title = map_title(name) + (f" · {atlas}" if several and atlas else "")
        kinds = {
            kind: tuple(_region(region, found) for (own, region), found in regions.items() if own == kind)
            for kind in KINDS
        }
        present = {kind: found for kind, found in kinds.items() if found}
        summaries.append(MapSummary(f"{name}-{len(summaries)}", title, units, present))
    return summaries


def outliers(values: Iterable[Value]) -> list[Outlier]:
    """Name the values that lie far from those of the other scans, the farthest first."""
    found = []
    for several in _by_region(values):
        means = [value.mean for value in several]
        for value, score in zip(several, modified_z_scores(means), strict=True):
            if abs(score) > LIMIT:
                found.append(
                    Outlier(
                        value.participant,
                        value.scan,
                        value.title,
                        map_title(value.map),
                        f"{show_number(value.mean)} {value.units}".strip(),
                        show_number(statistics.median(means)),
                        float(score),
                    )
                )
    return sorted(found, key=lambda one: -abs(one.score))


def tested_regions(values: Iterable[Value]) -> int:
    """Count the regions (of each side and map) with enough values to look for outliers in them."""
    return sum(len(several) >= FEWEST for several in _by_region(values))


def _by_region(values: Iterable[Value]) -> Iterable[list[Value]]:
    regions: dict[tuple[str, str, str, str], list[Value]] = {}
    for value in values:
        regions.setdefault((value.map, value.atlas, value.region, value.side), []).append(value)
    return regions.values()


def _region(name: str, found: Sequence[Value]) -> RegionSummary:
    sides: dict[str, list[Value]] = {}
    for value in found:
        sides.setdefault(value.side, []).append(value)
    return RegionSummary(name, tuple(_side(side, sides[side]) for side in sorted(sides)))


def _side(side: str, found: Sequence[Value]) -> SideSummary:
    groups: dict[str, list[float]] = {}
    for value in found:
        groups.setdefault(value.group, []).append(value.mean)
    means = [value.mean for value in found]
    spread = statistics.stdev(means) if len(means) > 1 else None
    numbers = (statistics.fmean(means), spread, statistics.median(means), min(means), max(means))
    cells = (found[0].title, str(len(means)), *(show_number(number) for number in numbers))
    return SideSummary(side, dict(sorted(groups.items())), cells)


def finite_number(cell: str | None) -> float | None:
    """Return the number that a cell of a table holds; None for anything else."""
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
