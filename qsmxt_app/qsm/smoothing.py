"""Gaussian smoothing of whole volumes on all threads."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from qsmxt_app.arrays import FloatArray

STRIP = 1024
"""Neighbouring voxels that are summed together, in the cache."""


def smooth(image: FloatArray, sigma: Sequence[float], *, truncate: float = 3.0) -> FloatArray:
    """Convolve with a Gaussian; the volume is continued by zeros.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Any quantity.
    sigma
        SD along each axis in voxels.
    truncate
        Where the Gaussian ends, in SDs.

    Returns
    -------
    ndarray (x, y, z)
        In units of the image.
    """
    nx, ny, nz = image.shape
    image = np.ascontiguousarray(image, dtype=np.float32)
    kernels = [_gaussian(width, truncate) for width in sigma]
    image = _across(image.reshape(1, nx, ny * nz), kernels[0])
    image = _across(image.reshape(nx, ny, nz), kernels[1])
    return np.asarray(_along(image.reshape(nx * ny, nz), kernels[2]).reshape(nx, ny, nz))


def _gaussian(sigma: float, truncate: float) -> FloatArray:
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


@numba.njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _across(image: FloatArray, kernel: FloatArray) -> FloatArray:
    """Convolve along the second axis, strips of the last one at a time."""
    blocks, n, length = image.shape
    reach = kernel.size // 2
    strips = -(-length // STRIP)
    out = np.empty_like(image)
    for job in numba.prange(blocks * strips):
        block, first = job // strips, job % strips * STRIP
        last = min(first + STRIP, length)
        total = np.empty(last - first, np.float32)
        for i in range(n):
            total[:] = 0
            for k in range(max(0, i - reach), min(n, i + reach + 1)):
                weight = kernel[k - i + reach]
                row = image[block, k, first:last]
                for c in range(last - first):
                    total[c] += weight * row[c]
            out[block, i, first:last] = total
    return out


@numba.njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _along(image: FloatArray, kernel: FloatArray) -> FloatArray:
    """Convolve along the last axis."""
    rows, n = image.shape
    reach = kernel.size // 2
    out = np.empty_like(image)
    for row in numba.prange(rows):
        padded = np.zeros(n + 2 * reach, np.float32)
        padded[reach : reach + n] = image[row]
        total = np.zeros(n, np.float32)
        for k in range(kernel.size):
            for i in range(n):
                total[i] += kernel[k] * padded[i + k]
        out[row] = total
    return out
