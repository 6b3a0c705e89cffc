"""Noise level of the complex images, from the images themselves and without a signal-free background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from qsmxt_app.arrays import BoolArray, FloatArray

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
    return float(np.sqrt(np.quantile(misfit, QUANTILE) / chi_squared_quantile(QUANTILE, degrees_of_freedom)))


def chi_squared_quantile(share: float, degrees_of_freedom: int) -> float:
    """Quantile of chi squared, without scipy.stats, whose import takes longer than many a step."""
    return float(2 * gammaincinv(degrees_of_freedom / 2, share))


def noise_from_detail(
    image: FloatArray, variance: FloatArray, mask: BoolArray, *, angle: bool = False
) -> float:
    """Noise level from the finest diagonal detail of an image.

    Blocks of 2x2x2 voxels are summed with alternating signs along all three axes (the diagonal Haar detail
    of Donoho & Johnstone, Biometrika 81:425 (1994)): structure cancels, noise keeps its SD. An image that
    was interpolated has less of this detail than noise; its level comes out too low.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Any image.
    variance : ndarray (x, y, z)
        Variance of its values for noise of unit variance.
    mask : ndarray (x, y, z)
        Blocks must lie inside it.
    angle
        Whether the image is a phase in rad, and its detail known modulo 2 pi.

    Returns
    -------
    float
        SD of the noise.

    Raises
    ------
    ValueError
        If no block of 2x2x2 voxels lies inside the mask.
    """
    inside = _blocks(mask).all(axis=(1, 3, 5))
    if not inside.any():
        raise ValueError("the noise level cannot be estimated: no 2x2x2 block of voxels has signal")
    detail = _blocks(image)
    for axis in (5, 3, 1):
        detail = np.take(detail, 1, axis) - np.take(detail, 0, axis)
    if angle:
        detail = detail - 2 * np.pi * np.rint(detail / (2 * np.pi))
    expected = _blocks(variance).sum(axis=(1, 3, 5))
    return noise_from_misfit((detail[inside] ** 2 / expected[inside]).astype(np.float32), 1)


def noise_from_ratio(magnitude: FloatArray, mask: BoolArray) -> float:
    """Noise level from the detail of the ratio of the first two magnitudes, in which anatomy shows little.

    Parameters
    ----------
    magnitude : ndarray (x, y, z, echo)
        At least two echoes.
    mask : ndarray (x, y, z)
        Region of interest.

    Returns
    -------
    float
        SD of the noise in either channel, in units of the magnitude.

    Raises
    ------
    ValueError
        If no block of 2x2x2 voxels with signal lies inside the mask.
    """
    signal, size = _signal(magnitude, mask)
    return noise_from_detail(np.log(size[..., 1] / size[..., 0]), (1 / size**2).sum(axis=-1), signal)


def noise_from_texture(magnitude: FloatArray, phase: FloatArray, mask: BoolArray) -> float:
    """Noise level of one or two echoes, which leave no residual to read it from.

    One echo has its magnitude and its phase to take the detail of, two have their ratio and their phase
    difference. Structure can only add to it, so the smaller estimate counts.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Magnitude, and phase in rad; the first two echoes are used.
    mask : ndarray (x, y, z)
        Region of interest.

    Returns
    -------
    float
        SD of the noise in either channel, in units of the magnitude.

    Raises
    ------
    ValueError
        If no block of 2x2x2 voxels with signal lies inside the mask.
    """
    signal, size = _signal(magnitude, mask)
    variance = (1 / size**2).sum(axis=-1)
    if magnitude.shape[-1] == 1:
        of_magnitude = noise_from_detail(size[..., 0], np.ones_like(variance), signal)
        return min(of_magnitude, noise_from_detail(phase[..., 0], variance, signal, angle=True))
    difference = phase[..., 1] - phase[..., 0]
    of_phase = noise_from_detail(difference, variance, signal, angle=True)
    return min(noise_from_ratio(magnitude, mask), of_phase)


def _signal(magnitude: FloatArray, mask: BoolArray) -> tuple[BoolArray, FloatArray]:
    """Voxels of the mask with signal in the first two echoes, and their magnitudes (1 elsewhere)."""
    signal = mask & np.all(magnitude[..., :2] > 0, axis=-1)
    return signal, np.where(signal[..., None], magnitude[..., :2], np.float32(1))


def _blocks(image: NDArray) -> NDArray:
    nx, ny, nz = (n - n % 2 for n in image.shape)
    return image[:nx, :ny, :nz].reshape(nx // 2, 2, ny // 2, 2, nz // 2, 2)
