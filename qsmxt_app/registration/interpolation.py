"""Linear interpolation with zeros outside."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray


@njit(cache=True, nogil=True, inline="always")
def _corner(place, size, corner):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Index of the lower (0) or upper (1) neighbour along an axis and its weight, 0 outside."""
    low = int(np.floor(place))
    share = place - low
    number = low + corner
    weight = share if corner else 1 - share
    return (number, weight) if 0 <= number < size else (0, 0.0)


@njit(cache=True, nogil=True, inline="always")
def _value(array, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Interpolate linearly; what is not a number is outside as well."""
    nx, ny, nz = array.shape
    total = 0.0
    if x > -1 and y > -1 and z > -1 and x < nx and y < ny and z < nz:
        for a in range(2):
            i, u = _corner(x, nx, a)
            for b in range(2):
                j, v = _corner(y, ny, b)
                for c in range(2):
                    k, w = _corner(z, nz, c)
                    total += array[i, j, k] * (u * v * w)
    return total


@njit(cache=True, nogil=True)
def sample(array: FloatArray, index: NDArray[np.float64], out: FloatArray) -> None:  # pragma: no cover
    """Interpolate an image linearly at scattered places.

    Parameters
    ----------
    array : ndarray (x, y, z), float32
        0 is what lies beyond it.
    index : ndarray (n, 3), float64
        Places in voxels.
    out : ndarray (n,), float32
        Filled with the result.
    """
    for n in range(index.shape[0]):
        out[n] = _value(array, index[n, 0], index[n, 1], index[n, 2])


@njit(cache=True, nogil=True)
def sample_grid(
    array: FloatArray, matrix: NDArray[np.float64], first: int, out: FloatArray
) -> None:  # pragma: no cover
    """Interpolate an image linearly on some slices of a grid.

    Parameters
    ----------
    array : ndarray (x, y, z), float32
        0 is what lies beyond it.
    matrix : ndarray (3, 4), float64
        From the voxels of the grid to those of the image.
    first
        Number of the first slice along the grid's first axis.
    out : ndarray (slices, y, z), float32
        Filled with the result.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            x = matrix[0, 0] * (first + i) + matrix[0, 1] * j + matrix[0, 3]
            y = matrix[1, 0] * (first + i) + matrix[1, 1] * j + matrix[1, 3]
            z = matrix[2, 0] * (first + i) + matrix[2, 1] * j + matrix[2, 3]
            for k in range(out.shape[2]):
                out[i, j, k] = _value(array, x + matrix[0, 2] * k, y + matrix[1, 2] * k, z + matrix[2, 2] * k)


@njit(cache=True, nogil=True)
def displace(
    field: FloatArray, index: NDArray[np.float64], points: NDArray[np.float64], out: NDArray[np.float64]
) -> None:  # pragma: no cover
    """Add a field of vectors, interpolated linearly, to points.

    Parameters
    ----------
    field : ndarray (x, y, z, 3), float32
        Zero vectors are what lies beyond it.
    index : ndarray (n, 3), float64
        Places of the points in the field's voxels.
    points : ndarray (n, 3), float64
    out : ndarray (n, 3), float64
        Filled with the points after their displacement.
    """
    nx, ny, nz, _ = field.shape
    for n in range(index.shape[0]):
        x, y, z = index[n, 0], index[n, 1], index[n, 2]
        p, q, r = points[n, 0], points[n, 1], points[n, 2]
        if x > -1 and y > -1 and z > -1 and x < nx and y < ny and z < nz:
            for a in range(2):
                i, u = _corner(x, nx, a)
                for b in range(2):
                    j, v = _corner(y, ny, b)
                    for c in range(2):
                        k, w = _corner(z, nz, c)
                        weight = u * v * w
                        p += field[i, j, k, 0] * weight
                        q += field[i, j, k, 1] * weight
                        r += field[i, j, k, 2] * weight
        out[n, 0], out[n, 1], out[n, 2] = p, q, r
