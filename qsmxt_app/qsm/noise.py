"""Noise level of the complex images, from the images themselves and without a signal-free background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

QUANTILE = 0.3
"""Noise is read at the lower end of a distribution: voxels where a model fails only add to the upper end."""


def noise_from_misfit(misfit: FloatArray, degrees_of_freedom: int) -> float:
    """Noise level from sums of squared residuals of a fit.

    Parameters
    ----------
    misfit : ndarray (voxels,)
        Sum of squares of residuals in each voxel, in squared units of the images.
    degrees_of_freedom
        Residuals less fitted parameters, at least 1.

    Returns
    -------
    float
        SD of the noise in either channel: the lower quantile of the misfit over that of chi squared.

    Raises
    ------
    ValueError
        If there is no voxel or no degree of freedom.
    """
    if misfit.size == 0 or degrees_of_freedom < 1:
        raise ValueError("the noise level needs residuals: there are no voxels or no degrees of freedom")
    return float(np.sqrt(np.quantile(misfit, QUANTILE) / chi2.ppf(QUANTILE, degrees_of_freedom)))


def noise_from_texture(magnitude: FloatArray, mask: BoolArray | None = None) -> float:
    """Noise level from the finest diagonal detail of one magnitude image.

    Blocks of 2x2x2 voxels are summed with alternating signs along all three axes (the diagonal Haar detail
    of Donoho & Johnstone, Biometrika 81:425 (1994)): structure cancels, noise keeps its SD. An image that
    was interpolated has less of this detail than noise; its level comes out too low.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        One echo.
    mask : ndarray (x, y, z), optional
        Blocks must lie inside it; default: voxels above a tenth of the 99th percentile.

    Returns
    -------
    float
        SD of the noise in either channel, in units of the image.

    Raises
    ------
    ValueError
        If no block of 2x2x2 voxels lies inside the mask.
    """
    if mask is None:
        mask = magnitude > 0.1 * np.quantile(magnitude, 0.99)
    nx, ny, nz = (n - n % 2 for n in magnitude.shape)
    blocks = (nx // 2, 2, ny // 2, 2, nz // 2, 2)
    detail = magnitude[:nx, :ny, :nz].reshape(blocks)
    for axis in (5, 3, 1):
        detail = np.take(detail, 1, axis) - np.take(detail, 0, axis)
    inside = mask[:nx, :ny, :nz].reshape(blocks).all(axis=(1, 3, 5))
    if not inside.any():
        raise ValueError("the noise level cannot be estimated: no 2x2x2 block of voxels has signal")
    return noise_from_misfit((detail[inside] ** 2 / 8).astype(np.float32), 1)
