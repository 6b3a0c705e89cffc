"""Total variation: forward differences and shrinkage, each in one pass."""

from __future__ import annotations

import math

import numba
import numpy as np


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
