"""Normalisation of magnitudes of different scans, and sharpening of their average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.magnitude import smooth_level

BRIGHTEST = 3.0
"""Beyond so many times the level of tissue there is only noise of the division, or a vessel."""


def normalise(magnitude: FloatArray, mask: NDArray[np.bool_], voxel_size: Sequence[float]) -> FloatArray:
    """Divide a magnitude by its coil profile and its median, so that scans can be averaged.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        In any unit.
    mask : ndarray (x, y, z) of bool
        Voxels that are kept; the others become 0.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z)
        Of which the median over the mask is 1.

    Raises
    ------
    ValueError
        The mask is empty, or there is no signal in it.
    """
    if not mask.any():
        raise ValueError("the mask is empty")
    if not magnitude[mask].any():
        raise ValueError("the magnitude has no signal in the mask")
    flat = np.where(mask, magnitude / smooth_level(magnitude, voxel_size), np.float32(0))
    middle = float(np.median(flat[mask]))
    if not (np.isfinite(middle) and middle > 0):
        raise ValueError("the magnitude has no signal in the mask")
    return np.clip(flat / np.float32(middle), 0, np.float32(BRIGHTEST))


def sharpen(average: FloatArray, strength: float = 1.0) -> FloatArray:
    """Sharpen edges that residual misalignment blurs (unsharp masking).

    The part of Avants (2010, NeuroImage 49:2457) that keeps a template from getting more blurred every round.

    Parameters
    ----------
    average : ndarray (x, y, z)
    strength
        How much of the difference to an image smoothed by one voxel is added.

    Returns
    -------
    ndarray (x, y, z)
        No value lies beyond those of the average.
    """
    sharp = average + strength * (average - ndimage.gaussian_filter(average, 1.0))
    return np.asarray(np.clip(sharp, average.min(), average.max()), dtype=np.float32)


def relative_change(new: NDArray, old: NDArray, inside: NDArray[np.bool_]) -> float:
    """Root mean square difference of two images, relative to the spread of the new one.

    Parameters
    ----------
    new, old : ndarray (x, y, z)
    inside : ndarray of bool
        Voxels that count.

    Returns
    -------
    float
        0 for equal images, about 1.4 for unrelated ones.
    """
    if not inside.any():
        return 0.0
    difference = new[inside].astype(np.float64) - old[inside]
    spread = float(np.std(new[inside], dtype=np.float64))
    return float(np.sqrt(np.mean(difference**2)) / max(spread, 1e-12))


def similarity(one: NDArray, other: NDArray) -> float:
    """Correlation of two images where both are known.

    Parameters
    ----------
    one, other : ndarray (x, y, z)
        0 where nothing is known.

    Returns
    -------
    float
        1 where both are alike but for scale and offset; 0 for unrelated ones, or where one of them is flat.
    """
    both = (one != 0) & (other != 0)
    if not both.any():
        return 0.0
    first, second = one[both].astype(np.float64), other[both].astype(np.float64)
    spread = float(first.std() * second.std())
    mean = float(np.mean((first - first.mean()) * (second - second.mean())))
    return mean / spread if spread > 0 else 0.0
