"""Gaussian smoothing and local means of whole volumes on all threads."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from qsmxt_app.arrays import FloatArray

STRIP = 1024
"""Neighbouring voxels that are summed together, in the cache."""


def smooth(
    image: FloatArray,
    sigma: Sequence[float],
    *,
    truncate: float = 3.0,
    hold: bool = False,
    out: FloatArray | None = None,
    scratch: FloatArray | None = None,
) -> FloatArray:
    """Convolve with a Gaussian.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Any quantity.
    sigma
        SD along each axis in voxels.
    truncate
        Where the Gaussian ends, in SDs.
    hold
        Whether the volume is continued by its outermost voxels, else by zeros.
    out, scratch : ndarray (x, y, z), float32
        Where the result goes, which may be `image`, and what is overwritten on the way; else they are made.

    Returns
    -------
    ndarray (x, y, z)
        In units of the image.
    """
    return _convolved(image, [_gaussian(width, truncate) for width in sigma], hold, out, scratch)


def local_mean(
    image: FloatArray, radius: int, *, out: FloatArray | None = None, scratch: FloatArray | None = None
) -> FloatArray:
    """Average over the cube around each voxel; the volume is continued by its outermost voxels.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Any quantity.
    radius
        Half the cube's edge in voxels, without the voxel in the middle.
    out, scratch
        As for `smooth`.

    Returns
    -------
    ndarray (x, y, z)
        In units of the image.
    """
    width = 2 * radius + 1
    return _convolved(image, [np.full(width, 1 / width, np.float32)] * 3, True, out, scratch)


def _convolved(
    image: FloatArray,
    kernels: Sequence[FloatArray],
    hold: bool,
    out: FloatArray | None,
    scratch: FloatArray | None,
) -> FloatArray:
    image = np.ascontiguousarray(image, dtype=np.float32)
    nx, ny, nz = image.shape
    out = np.empty_like(image) if out is None else out
    scratch = np.empty_like(image) if scratch is None else scratch
    whole, rows = (1, nx, ny * nz), (nx * ny, nz)
    _across(image.reshape(whole), kernels[0], hold, scratch.reshape(whole))
    _across(scratch, kernels[1], hold, out)
    _along(out.reshape(rows), kernels[2], hold)
    return out


def _gaussian(sigma: float, truncate: float) -> FloatArray:
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


@numba.njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _across(image: FloatArray, kernel: FloatArray, hold: bool, out: FloatArray) -> None:
    """Convolve along the second axis, strips of the last one at a time."""
    blocks, n, length = image.shape
    reach = kernel.size // 2
    strips = -(-length // STRIP)
    for job in numba.prange(blocks * strips):
        block, first = job // strips, job % strips * STRIP
        last = min(first + STRIP, length)
        total = np.empty(last - first, np.float32)
        for i in range(n):
            total[:] = 0
            for k in range(i - reach, i + reach + 1):
                if not hold and (k < 0 or k >= n):
                    continue
                weight = kernel[k - i + reach]
                row = image[block, min(max(k, 0), n - 1), first:last]
                for c in range(last - first):
                    total[c] += weight * row[c]
            out[block, i, first:last] = total


@numba.njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _along(image: FloatArray, kernel: FloatArray, hold: bool) -> None:
    """Convolve along the last axis, in place."""
    rows, n = image.shape
    reach = kernel.size // 2
    for row in numba.prange(rows):
        padded = np.zeros(n + 2 * reach, np.float32)
        for i in range(n):
            padded[reach + i] = image[row, i]
        if hold:
            padded[:reach] = image[row, 0]
            padded[reach + n :] = image[row, n - 1]
        total = np.zeros(n, np.float32)
        for k in range(kernel.size):
            for i in range(n):
                total[i] += kernel[k] * padded[i + k]
        for i in range(n):
            image[row, i] = total[i]
