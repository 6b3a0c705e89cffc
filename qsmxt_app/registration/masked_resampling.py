"""Maps that have values in a mask alone, on another grid."""

from __future__ import annotations

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.morphology import nearest_of
from qsmxt_app.registration.image import Grid, Image, crop
from qsmxt_app.registration.resample import apply
from qsmxt_app.registration.transforms import Transform

_RIM_VOXELS = 4
"""Width beyond the mask in which a cubic spline looks for values."""


def resample_mask(mask: Image, grid: Grid, transform: Transform | None = None) -> Image:
    """Bring a mask to a grid in another space.

    Parameters
    ----------
    mask : Image
        Of booleans.
    grid : Grid
        Where the result lies.
    transform : Transform
        From the mask's space to the grid's. None: both are the same world.

    Returns
    -------
    Image
        Of booleans: where linear interpolation of the mask gives at least one half.
    """
    found = apply(mask.with_array(mask.array.astype(np.float32)), grid, transform)
    return found.with_array(found.array >= 0.5)


def resample_in_mask(values: Image, mask: Image, grid: Grid, transform: Transform | None = None) -> Image:
    """Bring a map to a grid in another space, without mixing what lies outside its mask into it.

    Parameters
    ----------
    values : Image
    mask : Image
        Of booleans, on the grid of the values.
    grid : Grid
        Where the result lies.
    transform : Transform
        From the map's space to the grid's. None: both are the same world.

    Returns
    -------
    Image
        float32, by a cubic spline, within the range of the values; 0 outside the resampled mask. Voxels near
        the edge continue the nearest value inside.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    margin = _RIM_VOXELS * max(values.voxel_size)
    part, inside = crop(values, mask.array, margin), crop(mask, mask.array, margin)
    found = interpolate_inside(part, inside.array, grid, transform)
    kept = resample_mask(mask, grid, transform).array
    return Image(np.where(kept, found, 0).astype(np.float32), grid.affine)


def interpolate_inside(
    values: Image, mask: BoolArray, grid: Grid, transform: Transform | None = None
) -> FloatArray:
    """Interpolate a map by a cubic spline through its values in a mask alone, within their range.

    Parameters
    ----------
    values : Image
    mask : ndarray of bool
        Of the image's shape; not empty.
    grid : Grid
        Where the result lies.
    transform : Transform
        From the map's space to the grid's. None: both are the same world.

    Returns
    -------
    ndarray
        Of the grid; outside the mask the nearest value inside goes on, so that there is no edge.
    """
    known = values.array[mask]
    whole = values if mask.all() else values.with_array(nearest_of(values.array, mask))
    found = apply(whole, grid, transform, "bspline").array
    return np.asarray(np.clip(found, known.min(), known.max()))
