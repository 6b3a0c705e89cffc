"""Change of regional susceptibility between the sessions of one participant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray, LabelArray
from qsmxt_app.group.csv_text import tsv_cell
from qsmxt_app.group.majority_vote import majority_vote

DAYS_PER_YEAR = 365.25
CORRELATED = 8.0
"""Voxels over which the noise of a regularised map is alike: two in each direction."""
YEAR, SESSION = "year", "session"
COLUMNS = {
    "participant_id": "Participant",
    "atlas": "Segmentation that the region is of",
    "index": "Label of the region in it",
    "region": "Region",
    "hemisphere": "L or R; n/a for what lies on both sides",
    "n_scans": "Scans",
    "n_voxels": "Voxels in which the labels of most scans agree and all scans have a map",
    "mean": "Mean over scans",
    "change": "Slope of a line through the scans, weighted by their noise",
    "error": "Standard error of the change from the noise of the maps alone (n/a without --chi-noise maps)",
    "per": "Unit of time: year (acq_time of sessions.tsv), or session where times are not known",
    "interval": "Time between the first and the last scan",
}


@dataclass(frozen=True)
class Change:
    """One region of one participant: the mean of its scans, and the slope over time with its error."""

    voxels: int
    mean: float
    change: float
    error: float


def session_times(sessions: Sequence[str], acq_times: Mapping[str, str]) -> tuple[list[float], str]:
    """Return the time of each scan since the first, and its unit.

    Parameters
    ----------
    sessions
        Labels, one a scan.
    acq_times
        `acq_time` of each session, as BIDS writes it; years are used where all are known.

    Examples
    --------
    >>> session_times(["A", "B"], {"A": "2020-01-01T10:00:00", "B": "2022-01-01T10:00:00"})[1]
    'year'
    >>> session_times(["A", "A", "B"], {"A": "2020-01-01T10:00:00"})
    ([0.0, 0.0, 1.0], 'session')
    """
    try:
        when = [datetime.fromisoformat(acq_times[label]) for label in sessions]
        years = [(one - min(when)).total_seconds() / 86400 / DAYS_PER_YEAR for one in when]
    except (KeyError, ValueError, TypeError):
        years = []
    if years and max(years) > 0:
        return years, YEAR
    order = sorted(set(sessions))
    return [float(order.index(label)) for label in sessions], SESSION


def common_labels(labels: Sequence[LabelArray]) -> LabelArray:
    """Return the label that more than half of the scans have in each voxel; 0 where none has."""
    stack = np.stack(labels).astype(np.int32)
    voted = majority_vote(stack)
    return np.where(2 * (stack == voted).sum(axis=0) > len(labels), voted, 0)


def regional_changes(
    maps: Sequence[FloatArray],
    noises: Sequence[FloatArray] | None,
    labels: LabelArray,
    times: Sequence[float],
) -> dict[int, Change]:
    """Measure the change of every region.

    Parameters
    ----------
    maps : sequence of ndarray (x, y, z)
        Of each scan, in one space.
    noises : sequence of ndarray (x, y, z), optional
        Standard error of each map.
    labels : ndarray of int (x, y, z)
        Regions, 0 where a scan has no map.
    times
        Of each scan.
    """
    found = {}
    for index in np.unique(labels[labels > 0]):
        inside = labels == index
        count = int(np.count_nonzero(inside))
        means = np.array([float(one[inside].mean()) for one in maps])
        independent = max(1.0, count / CORRELATED)
        errors = [math.sqrt(float((one[inside] ** 2).mean()) / independent) for one in noises or ()]
        slope, error = fit_change(np.array(times), means, np.array(errors) if noises else None)
        found[int(index)] = Change(count, float(means.mean()), slope, error)
    return found


def fit_change(
    times: NDArray[np.float64], means: NDArray[np.float64], errors: NDArray[np.float64] | None
) -> tuple[float, float]:
    """Fit a line by weighted least squares; return its slope, and its standard error from known errors.

    Examples
    --------
    >>> slope, error = fit_change(np.array([0.0, 2.0]), np.array([0.1, 0.2]), np.array([0.03, 0.04]))
    >>> round(slope, 3), round(error, 3)
    (0.05, 0.025)
    """
    known = errors is not None and bool((errors > 0).all())
    weights = 1 / errors**2 if errors is not None and known else np.ones(times.size)
    offset = times - np.average(times, weights=weights)
    spread = float((weights * offset**2).sum())
    slope = float((weights * offset * means).sum() / spread)
    return slope, 1 / math.sqrt(spread) if known else math.nan


def changes_tsv(rows: Iterable[Mapping[str, object]]) -> str:
    """Return the table: one row for every participant and region."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(tsv_cell(row[name]) for name in COLUMNS) for row in rows]
    return "\n".join(lines) + "\n"
