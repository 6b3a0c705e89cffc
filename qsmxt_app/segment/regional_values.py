"""Regional values: statistics of each map in each region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.segment.regions import NOT_KNOWN, Region

if TYPE_CHECKING:
    import pandas as pd

LEAST_COVERED = 0.7
"""Fraction of a region inside the mask below which its values are doubtful."""
STATISTICS = ("mean", "std", "median", "mad", "p05", "p25", "p75", "p95", "min", "max")
COLUMNS = (
    "index",
    "name",
    "hemisphere",
    "map",
    "n_voxels",
    "volume_mm3",
    *STATISTICS,
    "in_mask_fraction",
    "confidence",
    "doubt",
    "atlas",
    "reference",
    "units",
)
_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "index": {"Description": "Number of the region in the label image on the same grid"},
    "name": {"Description": "Name of the region"},
    "hemisphere": {"Description": "Side of the body", "Levels": {"L": "left", "R": "right"}},
    "map": {"Description": "Map that the values are from"},
    "n_voxels": {"Description": "Voxels that the values are from: those of the region inside the mask"},
    "volume_mm3": {"Description": "Volume of these voxels", "Units": "mm3"},
    "mean": {"Description": "Arithmetic mean"},
    "std": {"Description": "Standard deviation, with n - 1 degrees of freedom"},
    "median": {"Description": "Median"},
    "mad": {"Description": "Median absolute deviation from the median, not scaled"},
    "p05": {"Description": "5th percentile"},
    "p25": {"Description": "25th percentile"},
    "p75": {"Description": "75th percentile"},
    "p95": {"Description": "95th percentile"},
    "min": {"Description": "Smallest value"},
    "max": {"Description": "Largest value"},
    "in_mask_fraction": {"Description": "Share of the region's voxels that lie inside the mask of the map"},
    "confidence": {
        "Description": "Whether the region is known to lie where its label is",
        "Levels": {"good": "no reason for doubt was found", "doubtful": "there is one, in the column doubt"},
    },
    "doubt": {"Description": "Why a value is doubtful"},
    "atlas": {"Description": "Where the regions come from"},
    "reference": {"Description": "What the values are relative to; n/a for absolute ones"},
    "units": {"Description": "Units of the values"},
}


@dataclass(frozen=True, eq=False)
class QuantitativeMap:
    """A map to read values from.

    Attributes
    ----------
    name
        `chi`, `r2star`...
    values : ndarray (x, y, z)
        In `units`.
    mask : ndarray (x, y, z), bool
        Where it has values.
    units
        `ppm`, `1/s`...
    reference
        What the values are relative to; empty for absolute ones.
    """

    name: str
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    units: str
    reference: str = ""


def regional_values(
    labels: NDArray[np.integer],
    regions: Sequence[Region],
    maps: Sequence[QuantitativeMap],
    *,
    voxel_volume: float,
    atlas: str,
    doubts: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Describe the values of each map in each region.

    Every region has a row for every map, also where none of its voxels is inside the mask: its numbers are
    NaN then.

    Parameters
    ----------
    labels : ndarray (x, y, z)
        Numbers of regions; 0 elsewhere.
    regions
        In the order of the rows.
    maps
        On the grid of the labels.
    voxel_volume
        mm^3.
    atlas
        Name of the source of the labels.
    doubts
        Why a label may be misplaced, by its number.

    Returns
    -------
    DataFrame
        With the columns `COLUMNS`.

    Raises
    ------
    ValueError
        If a map is on another grid than the labels.
    """
    import pandas as pd

    for one in maps:
        if one.values.shape != labels.shape or one.mask.shape != labels.shape:
            raise ValueError(
                f"{one.name} of shape {one.values.shape} and labels of shape {labels.shape} do not match"
            )
    where = _voxels_of_regions(labels, [region.index for region in regions])
    rows = []
    for one in maps:
        values, mask = one.values.ravel(), one.mask.ravel()
        for region, voxels in zip(regions, where, strict=True):
            inside = values[voxels[mask[voxels]]].astype(np.float64)
            covered = inside.size / voxels.size if voxels.size else np.nan
            doubt = _doubt((doubts or {}).get(region.index, ""), covered)
            rows.append(
                {
                    "index": region.index,
                    "name": region.name,
                    "hemisphere": region.hemisphere,
                    "map": one.name,
                    "n_voxels": inside.size,
                    "volume_mm3": inside.size * voxel_volume,
                    **_describe(inside),
                    "in_mask_fraction": covered,
                    "confidence": "doubtful" if doubt else "good",
                    "doubt": doubt,
                    "atlas": atlas,
                    "reference": one.reference,
                    "units": one.units,
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def values_table(values: pd.DataFrame) -> str:
    """Return the text of a table as BIDS wants it: tabs, and `n/a` for what is not known."""
    text = values.replace("", NOT_KNOWN).to_csv(
        sep="\t", index=False, na_rep=NOT_KNOWN, float_format="%.7g", lineterminator="\n"
    )
    return str(text)


def column_descriptions(maps: Mapping[str, str]) -> dict[str, Any]:
    """Describe the columns of a table, as its sidecar has it.

    Parameters
    ----------
    maps
        What the values of a map are, by its name.
    """
    return _DESCRIPTIONS | {"map": {**_DESCRIPTIONS["map"], "Levels": dict(maps)}}


def erode_labels(labels: NDArray[np.integer], layers: int) -> NDArray[np.integer]:
    """Take voxel layers off every region.

    Parameters
    ----------
    labels : ndarray (x, y, z)
        Numbers of regions; 0 elsewhere.
    layers
        Number of layers to remove of voxels that share a face with another label or the image's border.

    Returns
    -------
    ndarray (x, y, z)
        A copy.
    """
    eroded = np.array(labels)
    for _ in range(layers):
        inner = np.zeros(eroded.shape, bool)
        inner[1:-1, 1:-1, 1:-1] = True
        for axis in range(3):
            for shift in (1, -1):
                inner &= np.roll(eroded, shift, axis) == eroded
        eroded[~inner] = 0
    return eroded


def _doubt(placement: str, covered: float) -> str:
    """Reasons to doubt a value: the place of its label, and how much of the region the map covers."""
    if not covered > 0:
        return "no voxel in the map"
    return "; ".join(filter(None, (placement, "partly covered" if covered < LEAST_COVERED else "")))


def _voxels_of_regions(labels: NDArray[np.integer], numbers: Sequence[int]) -> list[NDArray[np.intp]]:
    """Return the flat indices of the voxels of each region: one pass, however many regions there are."""
    flat = labels.ravel()
    labelled = np.flatnonzero(flat)
    order = np.argsort(flat[labelled], kind="stable")
    sorted_numbers = flat[labelled][order]
    starts = np.searchsorted(sorted_numbers, numbers, side="left")
    ends = np.searchsorted(sorted_numbers, numbers, side="right")
    return [labelled[order[start:end]] for start, end in zip(starts, ends, strict=True)]


def _describe(values: NDArray[np.float64]) -> dict[str, float]:
    if not values.size:
        return dict.fromkeys(STATISTICS, np.nan)
    p05, p25, median, p75, p95 = np.percentile(values, [5, 25, 50, 75, 95])
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if values.size > 1 else np.nan,
        "median": float(median),
        "mad": float(np.median(np.abs(values - median))),
        "p05": float(p05),
        "p25": float(p25),
        "p75": float(p75),
        "p95": float(p95),
        "min": float(values.min()),
        "max": float(values.max()),
    }
