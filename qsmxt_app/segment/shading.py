"""Shading of a T1w image: the smooth change of its brightness that coils make.

The logarithm of the brightness is taken for that of a few tissues blurred by a smooth field. In turn the
histogram is sharpened and a smooth field is fitted to the difference between each voxel's brightness and the
one that the sharp histogram makes likely. This is N4 with one difference: the field is fitted to the brain's
voxels alone, by least squares with splines, instead of being approximated over the whole image.

References
----------
Sled JG, et al. IEEE Trans Med Imaging 17:87-97 (1998): sharpening of the histogram.
Tustison NJ, et al. IEEE Trans Med Imaging 29:1310-1320 (2010): splines, residual fields and levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from threadpoolctl import threadpool_limits

from qsmxt_app.arrays import BoolArray
from qsmxt_app.registration import Image

_LEVELS_MM = (160.0, 80.0, 40.0)
"""Distance of the splines' knots, from coarse to fine."""
_ITERATIONS = 50
_STILL = 1e-3
"""Coefficient of variation of the change of the field below which a level ends."""
_BINS, _PADDED = 200, 512
_FWHM, _NOISE = 0.15, 0.01
"""Width of the field's distribution (logarithmic), and noise of the Wiener filter that sharpens."""
_STIFFNESS = 1e-3
"""Of the splines, as a share of the mean weight of a coefficient: what holds those that few voxels see."""


def estimate_shading(image: Image, mask: BoolArray) -> Image:
    """Estimate the shading of an image.

    Parameters
    ----------
    image : Image
        Of voxels of a few millimetres; at least 0.
    mask : ndarray of bool
        The brain, which the shading is estimated from.

    Returns
    -------
    Image
        Factor by which the brightness of each voxel is too high, of geometric mean 1 in the mask; beyond the
        box around the mask it goes on as at its edge. The same input gives the same bytes.
    """
    inside = mask & (image.array > 0)
    field = np.zeros(image.array.shape)
    if not inside.any():
        return image.with_array(np.ones(image.array.shape, np.float32))
    values = np.log(image.array[inside].astype(np.float64))
    # sums over many voxels depend on how BLAS splits them among threads
    with threadpool_limits(1):
        for distance in _LEVELS_MM:
            splines = _Splines(inside, [distance / size for size in image.voxel_size])
            field += splines.everywhere(_fitted(values - field[inside], splines))
    return image.with_array(np.exp(field - field[inside].mean()).astype(np.float32))


class _Splines:
    """Cubic splines over the box around a mask, fitted to the mask's voxels."""

    def __init__(self, inside: BoolArray, knots: list[float]) -> None:
        index = np.argwhere(inside)
        low, high = index.min(0), index.max(0)
        self.axes = [
            _basis(np.clip(np.arange(n), low[a], high[a]), low[a], high[a], knots[a])
            for a, n in enumerate(inside.shape)
        ]
        x, y, z = (basis[place] for basis, place in zip(self.axes, index.T, strict=True))
        plane = (x[:, :, None] * y[:, None]).reshape(len(index), -1)
        self.matrix = (plane[:, :, None] * z[:, None]).reshape(len(index), -1)
        weights = self.matrix.T @ self.matrix
        weights += np.eye(len(weights)) * _STIFFNESS * np.trace(weights) / len(weights)
        self.solver = np.linalg.inv(weights)

    def fit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients of the field nearest to values at the mask's voxels."""
        return np.asarray(self.solver @ (self.matrix.T @ values))

    def everywhere(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The field on the whole grid."""
        cube = coefficients.reshape([basis.shape[1] for basis in self.axes])
        for basis in self.axes:  # each goes to the end, and after three they are in order again
            cube = np.tensordot(cube, basis, (0, 1))
        return np.asarray(cube)


def _basis(places: NDArray, low: int, high: int, distance: float) -> NDArray[np.float64]:
    """Cubic B-splines (places, splines) with knots about as far apart as asked for, at least one span."""
    spans = max(1, round((high - low) / distance))
    step = max(high - low, 1) / spans
    knots = low + step * np.arange(-3, spans + 4)
    return np.asarray(BSpline.design_matrix(places.astype(np.float64), knots, 3).toarray())


def _fitted(values: NDArray[np.float64], splines: _Splines) -> NDArray[np.float64]:
    """Coefficients of the field in the logarithm of the brightness."""
    coefficients, field = np.zeros(splines.matrix.shape[1]), np.zeros(values.size)
    for _ in range(_ITERATIONS):
        coefficients = splines.fit(values - _sharpened(values - field))
        before, field = field, splines.matrix @ coefficients
        change = np.exp(field - before)
        if change.std() < _STILL * change.mean():
            break
    return coefficients


def _sharpened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each value most likely is without a Gaussian blur of all values."""
    low, high = float(values.min()), float(values.max())
    width = max(high - low, 1e-6) / (_BINS - 1)
    place = (values - low) / width
    first = np.minimum(place.astype(int), _BINS - 2)
    histogram = np.bincount(first, 1 - (place - first), _BINS) + np.bincount(first + 1, place - first, _BINS)
    padded = np.zeros(_PADDED)
    offset = (_PADDED - _BINS) // 2
    padded[offset : offset + _BINS] = histogram
    blur = np.fft.rfft(_gaussian(_FWHM / width))
    sharp = np.fft.irfft(np.fft.rfft(padded) * np.conj(blur) / (abs(blur) ** 2 + _NOISE), _PADDED)
    sharp = np.maximum(sharp, 0)
    centres = low + width * (np.arange(_PADDED) - offset)
    total = np.fft.irfft(np.fft.rfft(sharp) * blur, _PADDED)
    likely = np.fft.irfft(np.fft.rfft(sharp * centres) * blur, _PADDED) / np.maximum(total, 1e-9)
    seen = slice(offset, offset + _BINS)
    return np.asarray(np.interp(values, centres[seen], likely[seen]))


def _gaussian(fwhm: float) -> NDArray[np.float64]:
    """Gaussian of unit sum about the first element of a ring."""
    distance = np.minimum(np.arange(_PADDED), _PADDED - np.arange(_PADDED))
    weights = np.exp(-4 * np.log(2) * (distance / fwhm) ** 2)
    return np.asarray(weights / weights.sum())
