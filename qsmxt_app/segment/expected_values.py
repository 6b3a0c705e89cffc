"""Regional values of susceptibility, and what the literature expects them to be."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import QsmxtError

WHITE_MATTER = "White matter"
MG_PER_KG = 10.0
"""mg per kg in one mg per 100 g."""

SPREADS = 2
"""Standard deviations on either side of the mean that hold 95 % of healthy adults; one leaves out a third."""

FEWEST_VOXELS = 10
"""Voxels below which the values of a region are chance."""

_SIDES = {"left": "L", "right": "R", "lh": "L", "rh": "R"}
_COLUMNS = {"name", "hemisphere", "map", "n_voxels", "median"}


@dataclass(frozen=True)
class RegionalValue:
    """One row of a table of regional values: susceptibility in ppm."""

    name: str
    hemisphere: str
    voxels: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Expected:
    """Susceptibility of a region less that of white matter in ppm, as healthy adults have it."""

    title: str
    names: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """A region beside its expected range, in ppm relative to white matter.

    Attributes
    ----------
    median, low, high
        Median and quartiles of the voxels.
    """

    value: RegionalValue
    expected: Expected
    median: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the median lies in the range."""
        return self.expected.low <= self.median <= self.expected.high


def plain_name(name: str) -> str:
    """Return the name of a region as all sources spell it alike.

    Examples
    --------
    >>> [plain_name(name) for name in ("Left-Thalamus-Proper*", "right cerebral white matter", "Red Nucleus")]
    ['thalamus-proper', 'cerebral-white-matter', 'red-nucleus']
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    return "-".join(words[1:] if words and words[0] in _SIDES else words)


@cache
def expected_values() -> tuple[Expected, ...]:
    """Return the ranges of all regions of the literature, in the order of their iron.

    The lower end is what two standard deviations less iron than the mean give, at the lowest slope; the upper
    end two more at the highest slope, with the myelin of white matter added: between them lie 95 % of healthy
    adults.
    """
    source = resources.files("qsmxt_app.segment") / "literature.toml"
    content: Mapping[str, Any] = tomllib.loads(source.read_text(encoding="utf-8"))
    slope, white, myelin = content["conversion"], content["reference"]["iron"], content["myelin"]["most"]

    def expected(region: Mapping[str, Any]) -> Expected:
        mean, spread = region["iron"]
        ends = [MG_PER_KG * (mean + sign * SPREADS * spread - white) for sign in (-1, 1)]
        # the lower end is the lower one also where a region holds less iron than white matter
        low = min(slope["least"] * ends[0], slope["most"] * ends[0])
        return Expected(region["title"], tuple(region["names"]), low, slope["most"] * ends[1] + myelin)

    return tuple(expected(region) for region in content["region"])


def group_of(name: str) -> str:
    """Return the region of the literature that a label belongs to, or white matter; empty if to none."""
    plain = plain_name(name)
    if plain.endswith("white-matter") and not plain.startswith("cerebell"):
        return WHITE_MATTER
    return next((region.title for region in expected_values() if plain in region.names), "")


def is_nucleus(name: str) -> bool:
    """Whether a label is one of the deep grey nuclei of the literature."""
    return group_of(name) not in ("", WHITE_MATTER)


def read_regional_values(path: Path | None) -> tuple[RegionalValue, ...]:
    """Read the susceptibility of all regions from a table `*_desc-qsm_stats.tsv`.

    A missing or damaged table, and rows without numbers, read as nothing.
    """
    if path is None:
        return ()
    try:
        rows = list(csv.DictReader(io.StringIO(read_small(path), newline=""), delimiter="\t"))
    except (QsmxtError, csv.Error):
        return ()
    if not rows or not rows[0].keys() >= _COLUMNS:
        return ()
    found = (_regional_value(row) for row in rows if row["map"] == "chi")
    return tuple(value for value in found if value is not None)


def compare(values: Iterable[RegionalValue]) -> tuple[Compared, ...]:
    """Put regions beside the ranges of the literature, all relative to white matter.

    Parameters
    ----------
    values
        Of one map, relative to anything.

    Returns
    -------
    tuple of Compared
        In the order of the ranges, left before right; empty if no white matter was labelled.
    """
    values = tuple(values)
    white = [value for value in values if group_of(value.name) == WHITE_MATTER]
    if not white:
        return ()
    zero = float(np.average([value.median for value in white], weights=[value.voxels for value in white]))
    return tuple(
        Compared(value, expected, value.median - zero, value.low - zero, value.high - zero)
        for expected in expected_values()
        for value in sorted(values, key=lambda one: (one.name, one.hemisphere))
        if group_of(value.name) == expected.title
    )


def _regional_value(row: Mapping[str, str | None]) -> RegionalValue | None:
    try:
        voxels = int(row["n_voxels"] or 0)
        numbers = [float(row[column] or "nan") for column in ("median", "p25", "p75")]
    except (ValueError, KeyError):
        return None
    if voxels < FEWEST_VOXELS or not np.isfinite(numbers).all():
        return None
    median, low, high = numbers
    side = row["hemisphere"] if row["hemisphere"] in ("L", "R") else ""
    return RegionalValue(plain_name(row["name"] or ""), str(side), voxels, median, low, high)
