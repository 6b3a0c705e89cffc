"""In which units a susceptibility map is, told by its sidecar and checked by the spread of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray

TO_PPM = {"ppm": 1.0, "ppb": 1e-3, "1": 1e6}
"""What values are multiplied by, by their units; `1` is susceptibility without a factor."""
SPREAD_PPM = (0.003, 1.5)
"""Least and largest spread of a map of the body; units are a thousand apart, so that no two fit."""
_NORMAL_QUARTILES = 1.349
_SPELLINGS = {"": "", "partspermillion": "ppm", "partsperbillion": "ppb", "si": "1", "dimensionless": "1"}


@dataclass(frozen=True)
class Units:
    """Units of a map, the factor that makes ppm of them, and how they are known."""

    name: str
    to_ppm: float
    known_by: str


def spread_of(chi: FloatArray, mask: BoolArray) -> float:
    """Return the interquartile range inside a mask, in units of that of a standard normal distribution."""
    lower, upper = np.percentile(chi[mask], [25, 75])
    return float(upper - lower) / _NORMAL_QUARTILES


def units_of(chi: FloatArray, mask: BoolArray, told: str = "") -> Units:
    """Find the units of a susceptibility map.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        In any units.
    mask : ndarray (x, y, z), bool
        Where it has values, in some voxels at least.
    told
        `Units` of its sidecar; empty where it has none.

    Raises
    ------
    ValueError
        The units are not those of susceptibility, or the values do not spread as they do in these units.

    Examples
    --------
    >>> chi = np.linspace(-100, 100, 50).reshape(1, 5, 10)
    >>> units_of(chi, np.ones(chi.shape, bool))
    Units(name='ppb', to_ppm=0.001, known_by='the spread of its values')
    """
    plain = "".join(told.lower().split())
    name = _SPELLINGS.get(plain, plain)
    spread = spread_of(chi, mask)
    low, high = SPREAD_PPM
    fitting = next((unit for unit, factor in TO_PPM.items() if low <= spread * factor <= high), "")
    if name and name not in TO_PPM:
        raise ValueError(f"its Units are {told}, which is no susceptibility (ppm, ppb or 1)")
    if not fitting:
        raise ValueError(f"its values spread by {spread:.3g}, as no susceptibility does in ppm, ppb or 1")
    if name and name != fitting:
        raise ValueError(
            f"its Units are {told}, but its values spread by {spread:.3g}, as they do in {fitting}"
        )
    return Units(fitting, TO_PPM[fitting], "its sidecar" if name else "the spread of its values")


def values_mask(chi: FloatArray) -> BoolArray:
    """Return where a map has values: all voxels but those of the constant, or of no number, around them.

    Parameters
    ----------
    chi : ndarray (x, y, z)

    Raises
    ------
    ValueError
        Nothing is left, or the values go on to the edge of the image.
    """
    finite = np.isfinite(chi)
    faces = [np.take(chi, index, axis=axis).ravel() for axis in range(3) for index in (0, -1)]
    rim = np.concatenate(faces)
    numbers, counts = np.unique(rim[np.isfinite(rim)], return_counts=True)
    outside = numbers[counts.argmax()] if numbers.size else 0.0
    if numbers.size and counts.max() < rim.size / 10 and np.isfinite(rim).mean() > 0.9:
        raise ValueError("no constant surrounds its values, so that nothing tells where they end")
    inside = np.asarray(finite & (chi != outside))
    if not inside.any():
        raise ValueError("it has no values")
    return inside
