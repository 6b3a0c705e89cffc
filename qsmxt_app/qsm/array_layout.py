"""Order of voxels in memory: files hold echo after echo, the fits go voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded

TILE = 16
"""Voxels along x and z that are moved together: a line of the cache, read and written whole."""


def echoes_together(image: FloatArray) -> FloatArray:
    """Put the echoes of each voxel side by side in memory, on all threads.

    Parameters
    ----------
    image : ndarray (x, y, z) or (x, y, z, echo)
        In any order; that of a NIfTI file, x first, is what this is made for.

    Returns
    -------
    ndarray, shape of the image
        The same values in C order; the image itself if it has that order.

    Examples
    --------
    >>> image = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    >>> together = echoes_together(image)
    >>> together.flags.c_contiguous, bool((together == image).all())
    (True, True)
    """
    if image.flags.c_contiguous or not image.flags.f_contiguous or image.ndim not in (3, 4):
        return np.ascontiguousarray(image, dtype=np.float32)
    out = np.empty(image.shape, np.float32)
    source = np.ascontiguousarray(image.T, dtype=np.float32)
    _transpose(image.shape[1], source.reshape(-1, *source.shape[-3:]), out.reshape(*image.shape[:3], -1))
    return out


def echoes_apart(image: NDArray) -> NDArray:
    """Put an image into the order of a file, x first and echo after echo, on all threads.

    Parameters
    ----------
    image : ndarray (x, y, z) or (x, y, z, echo)
        Of any type and in any order; C order is what this is made for.

    Returns
    -------
    ndarray, shape of the image
        The same values in Fortran order; the image itself if it has that order.

    Examples
    --------
    >>> image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    >>> apart = echoes_apart(image)
    >>> apart.flags.f_contiguous, bool((apart == image).all())
    (True, True)
    """
    if image.flags.f_contiguous or not image.flags.c_contiguous or image.ndim not in (3, 4):
        return np.asfortranarray(image)
    out = np.empty(image.shape[::-1], image.dtype)
    _transpose_back(image.shape[1], image.reshape(*image.shape[:3], -1), out.reshape(-1, *out.shape[-3:]))
    return out.T


@threaded()
def _transpose_back(first: int, last: int, source: NDArray, out: NDArray) -> None:
    """Transpose (x, y, z, echo) to (echo, z, y, x), tile by tile."""
    nx, _ny, nz, echoes = source.shape
    for y in range(first, last):
        for x0 in range(0, nx, TILE):
            for z0 in range(0, nz, TILE):
                for e in range(echoes):
                    for z in range(z0, min(z0 + TILE, nz)):
                        for x in range(x0, min(x0 + TILE, nx)):
                            out[e, z, y, x] = source[x, y, z, e]


@threaded()
def _transpose(first: int, last: int, source: FloatArray, out: FloatArray) -> None:
    """Transpose (echo, z, y, x) to (x, y, z, echo), tile by tile."""
    echoes, nz, _ny, nx = source.shape
    for y in range(first, last):
        for x0 in range(0, nx, TILE):
            for z0 in range(0, nz, TILE):
                for x in range(x0, min(x0 + TILE, nx)):
                    for z in range(z0, min(z0 + TILE, nz)):
                        for e in range(echoes):
                            out[x, y, z, e] = source[e, z, y, x]
