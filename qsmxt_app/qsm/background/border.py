"""The border of a mask, and how to keep doubtful values away from it."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray
from qsmxt_app.qsm.padded_grid import normalised_weights

LEAST_WEIGHT = 0.1
"""Weight, relative to the median in the mask, below which a value at the border is doubtful."""


def border_of(mask: BoolArray) -> BoolArray:
    """Voxels of a mask with a neighbour outside it among the 18 that share a face or an edge."""
    structure = scipy.ndimage.generate_binary_structure(3, 2)
    return np.asarray(mask & ~scipy.ndimage.binary_erosion(mask, structure))


def within_doubtful_border(mask: BoolArray, weights: NDArray | None) -> BoolArray:
    """Move the border of a mask inwards past voxels of little weight.

    Every method of background removal takes the field at the border, or within a sphere's radius of it, for
    background: one wrong value there spreads far into the mask. Inside, a doubtful voxel does no such harm
    and stays.

    Parameters
    ----------
    mask : ndarray of bool (x, y, z)
        Region of interest.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit; without, the mask is returned as it is.

    Raises
    ------
    ValueError
        If nothing is left of the mask.
    """
    if weights is None:
        return mask
    weight = normalised_weights(weights, mask)
    doubtful = weight < LEAST_WEIGHT * np.median(weight[mask])
    inner = mask
    while (wrong := border_of(inner) & doubtful).any():
        inner = inner & ~wrong
    if not inner.any():
        raise ValueError("nothing is left of the mask inside its doubtful border")
    return inner
