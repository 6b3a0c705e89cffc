"""Susceptibility relative to the fluid of the ventricles, in which there are no sources of either kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qsmxt_app.arrays import BoolArray

FLUID_RATE = 6.0
"""R2* at 3 T, 1/s, below which a voxel is fluid: 2 of the ventricles, and 14 and more of tissue."""
DEPTH_MM = 10.0
"""Distance from the border of the mask: fluid of the surface has veins, and errors of the background."""
LEAST_ML = 0.3


def fluid_susceptibility(
    chi: NDArray, r2star: NDArray, mask: BoolArray, *, voxel_size: Sequence[float], field_strength: float
) -> tuple[float | None, float]:
    """Return the median susceptibility of deep fluid, ppm, or None where there is too little of it.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm.
    r2star : ndarray (x, y, z)
        1/s.
    mask : ndarray of bool (x, y, z)
        Where chi is known.
    voxel_size
        mm.
    field_strength
        T.

    Returns
    -------
    value : float or None
    volume_ml : float
        Of that fluid.

    References
    ----------
    Liu Z, Spincemaille P, Yao Y, Zhang Y, Wang Y. Magn Reson Med 79:2795-2803 (2018): fluid found by R2*.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=voxel_size)[1:-1, 1:-1, 1:-1]
    limit = FLUID_RATE * (0.4 + 0.6 * field_strength / 3)
    fluid = (depth > DEPTH_MM) & (r2star > 0) & (r2star < limit)
    # voxels apart are noise: fluid fills its neighbourhood
    fluid &= ndimage.uniform_filter(fluid.astype(np.float32), 3) > 0.6
    volume = float(fluid.sum() * np.prod(voxel_size) / 1000)
    return (float(np.median(chi[fluid])) if volume >= LEAST_ML else None), volume
