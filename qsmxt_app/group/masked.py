"""Maps that are known inside a mask, resampled to another grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.registration.image import Grid, Image
from qsmxt_app.registration.masked_resampling import interpolate_inside
from qsmxt_app.registration.resample import apply
from qsmxt_app.registration.transforms import Transform


def apply_masked(
    image: Image, mask: NDArray[np.bool_], grid: Grid, transform: Transform
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Resample a map that is known inside a mask: what lies outside takes no part in the interpolation.

    The interpolation is by cubic B-splines (Unser 1999, IEEE Signal Process Mag 16(6):22). A linear one would
    smooth the map: it takes a fifth of its susceptibility from the substantia nigra at voxels of 3 mm.

    Parameters
    ----------
    image : Image
    mask : ndarray of bool
        Where the map is known; of the image's shape.
    grid : Grid
    transform : Transform
        From the image's space to the grid's.

    Returns
    -------
    tuple of ndarray
        The map, 0 where less than half of the voxel is known, and where it is known. No value lies beyond
        those of the map.
    """
    known = apply(image.with_array(mask.astype(np.float32)), grid, transform).array > 0.5
    if not known.any():
        return np.zeros(known.shape, np.float32), known
    return np.where(known, interpolate_inside(image, mask, grid, transform), np.float32(0)), known
