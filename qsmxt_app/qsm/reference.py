"""What susceptibility is reported relative to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from qsmxt_app.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Referenced:
    """A susceptibility map and the reference value that was subtracted.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        Susceptibility in ppm relative to the reference, 0 outside the mask.
    value
        Value of the reference in ppm, on the scale of the map that came in; 0 without a reference.
    voxels
        That it is the mean over; 0 without a reference.
    """

    chi: FloatArray
    value: float
    voxels: int


def reference_chi(
    chi: FloatArray, mask: BoolArray, reference: Literal["mean", "none"] | ArrayLike = "mean"
) -> Referenced:
    """Report susceptibility relative to a mean.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        Susceptibility in ppm.
    mask : ndarray (x, y, z), bool
        Mask in which it was reconstructed, after any erosion.
    reference : "mean", "none" or ndarray (x, y, z)
        The mean over the mask, nothing, or the mean over the part of a region (above 0) inside the mask.

    Returns
    -------
    Referenced
        The map and the value of the reference.

    Raises
    ------
    ValueError
        If shapes differ, if the mask is empty, or if the region has no voxel in it.

    Examples
    --------
    >>> chi = np.array([[[1.0, 3.0, 7.0]]], np.float32)
    >>> referenced = reference_chi(chi, np.array([[[True, True, False]]]))
    >>> referenced.value, referenced.chi.tolist()
    (2.0, [[[-1.0, 1.0, 0.0]]])
    """
    if chi.shape != mask.shape:
        raise ValueError(f"the susceptibility map has shape {chi.shape}, its mask {mask.shape}")
    if not mask.any():
        raise ValueError("the mask of the susceptibility map is empty: there is nothing to refer to")
    if isinstance(reference, str):
        if reference not in ("mean", "none"):
            raise ValueError(f"the reference is 'mean', 'none' or a region, not {reference!r}")
        region = mask if reference == "mean" else None
    else:
        region = np.asarray(reference) > 0
        if region.shape != mask.shape:
            raise ValueError(f"the reference region has shape {region.shape}, the map {chi.shape}")
        region = region & mask
        if not region.any():
            raise ValueError("the reference region has no voxel in the mask: choose another one, or 'mean'")
    value = 0.0 if region is None else float(chi[region].mean(dtype=np.float64))
    voxels = 0 if region is None else int(np.count_nonzero(region))
    shifted = np.where(mask, chi - np.float32(value), np.float32(0)).astype(np.float32)
    return Referenced(shifted, value, voxels)
