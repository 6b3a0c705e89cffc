"""Total variation: forward differences, shrinkage and reweighting, each in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray


@numba.njit(cache=True, nogil=True, parallel=True)
def shrink_gradient(chi, dual, target, threshold, voxel_size):  # type: ignore[no-untyped-def]
    """Step of the split variable of an isotropic total variation (periodic forward differences).

    ``v = grad chi + dual``, ``z = v shrunk by threshold``, ``dual = v - z``; `target` becomes ``z - dual``,
    the gradient that the next chi should have.

    Parameters
    ----------
    chi : ndarray (x, y, z)
    dual, target : ndarray (3, x, y, z)
        Updated in place, 1/mm times the unit of chi.
    threshold : float
    voxel_size : ndarray (3,)
        mm.
    """
    nx, ny, nz = chi.shape
    for i in numba.prange(nx):
        ii = i + 1 if i + 1 < nx else 0
        for j in range(ny):
            jj = j + 1 if j + 1 < ny else 0
            for k in range(nz):
                kk = k + 1 if k + 1 < nz else 0
                c = chi[i, j, k]
                a = (chi[ii, j, k] - c) / voxel_size[0] + dual[0, i, j, k]
                b = (chi[i, jj, k] - c) / voxel_size[1] + dual[1, i, j, k]
                d = (chi[i, j, kk] - c) / voxel_size[2] + dual[2, i, j, k]
                norm = math.sqrt(a * a + b * b + d * d)
                keep = np.float32(1.0 - threshold / norm) if norm > threshold else np.float32(0.0)
                rest = np.float32(1.0) - keep
                dual[0, i, j, k], dual[1, i, j, k], dual[2, i, j, k] = rest * a, rest * b, rest * d
                target[0, i, j, k] = (keep - rest) * a
                target[1, i, j, k] = (keep - rest) * b
                target[2, i, j, k] = (keep - rest) * d


@numba.njit(cache=True, nogil=True, parallel=True)
def gradient_adjoint(out, vector, voxel_size):  # type: ignore[no-untyped-def]
    """Adjoint of the periodic forward differences: minus the divergence.

    Parameters
    ----------
    out : ndarray (x, y, z)
        Overwritten.
    vector : ndarray (3, x, y, z)
    voxel_size : ndarray (3,)
        mm.
    """
    nx, ny, nz = out.shape
    for i in numba.prange(nx):
        ii = i - 1 if i > 0 else nx - 1
        for j in range(ny):
            jj = j - 1 if j > 0 else ny - 1
            for k in range(nz):
                kk = k - 1 if k > 0 else nz - 1
                out[i, j, k] = (
                    (vector[0, ii, j, k] - vector[0, i, j, k]) / voxel_size[0]
                    + (vector[1, i, jj, k] - vector[1, i, j, k]) / voxel_size[1]
                    + (vector[2, i, j, kk] - vector[2, i, j, k]) / voxel_size[2]
                )


@numba.njit(cache=True, nogil=True, parallel=True)
def _inverse_gradient(out, chi, mask, floor, h):  # type: ignore[no-untyped-def]
    nx, ny, nz = chi.shape
    for i in numba.prange(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                if not mask[i, j, k]:
                    continue
                c = chi[i, j, k]
                s = floor * floor
                if mask[i + 1, j, k]:
                    s += ((chi[i + 1, j, k] - c) / h[0]) ** 2
                if mask[i, j + 1, k]:
                    s += ((chi[i, j + 1, k] - c) / h[1]) ** 2
                if mask[i, j, k + 1]:
                    s += ((chi[i, j, k + 1] - c) / h[2]) ** 2
                out[i, j, k] = 1.0 / math.sqrt(s)


@numba.njit(cache=True, nogil=True, parallel=True)
def _weighted_laplacian(out, chi, weight, mask, h):  # type: ignore[no-untyped-def]
    nx, ny, nz = chi.shape
    x, y, z = 1 / h[0] ** 2, 1 / h[1] ** 2, 1 / h[2] ** 2
    for i in numba.prange(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if not mask[i, j, k]:
                    continue
                c = chi[i, j, k]
                w = weight[i, j, k]
                s = np.float32(0.0)
                if mask[i + 1, j, k]:
                    s += x * w * (c - chi[i + 1, j, k])
                if mask[i, j + 1, k]:
                    s += y * w * (c - chi[i, j + 1, k])
                if mask[i, j, k + 1]:
                    s += z * w * (c - chi[i, j, k + 1])
                if mask[i - 1, j, k]:
                    s += x * weight[i - 1, j, k] * (c - chi[i - 1, j, k])
                if mask[i, j - 1, k]:
                    s += y * weight[i, j - 1, k] * (c - chi[i, j - 1, k])
                if mask[i, j, k - 1]:
                    s += z * weight[i, j, k - 1] * (c - chi[i, j, k - 1])
                out[i, j, k] = s


class ReweightedVariation:
    """Gradient of the quadratic function that touches the smoothed total variation at a given map.

    Differences across the border of the mask do not count.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        The map, whose outermost planes are outside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    strength
        Factor of the total variation.
    floor
        Gradient below which the variation is quadratic, in the unit of chi per mm.
    """

    def __init__(
        self, chi: FloatArray, mask: BoolArray, voxel_size: Sequence[float], strength: float, floor: float
    ) -> None:
        self._mask = mask
        self._voxel_size = np.asarray(voxel_size, np.float32)
        self._weight: NDArray[np.float32] = np.zeros_like(chi)
        _inverse_gradient(self._weight, chi, mask, np.float32(floor), self._voxel_size)
        self._weight *= np.float32(strength)

    def __call__(self, chi: FloatArray) -> FloatArray:
        """Apply the symmetric operator."""
        out = np.zeros_like(chi)
        _weighted_laplacian(out, chi, self._weight, self._mask, self._voxel_size)
        return out
