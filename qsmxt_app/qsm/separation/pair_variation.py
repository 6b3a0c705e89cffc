"""Total generalised variation of two images that share their edges, and the primal-dual steps on it.

Images of a pair are arrays (2, x, y, z), vectors (2, 3, x, y, z) and symmetric tensors (2, 6, x, y, z) in
the order xx, yy, zz, xy, xz, yz. The outermost layer of the box lies outside the mask. Differences between a
voxel of the mask and one outside it are zero.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_PAIRS = ((0, 3, 4), (3, 1, 5), (4, 5, 2))
"""Place of element (i, j) in a symmetric tensor."""


@numba.njit(cache=True, nogil=True, parallel=True)
def step_duals(x, w, y, z, mask, inverse_size, step, alpha1, alpha0):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Ascend along the gradient less `w` in `y`, and along the symmetrised gradient of `w` in `z`.

    Parameters
    ----------
    x, w : ndarray (2, x, y, z), (2, 3, x, y, z)
        Over-relaxed primal variables.
    y, z : ndarray (2, 3, x, y, z), (2, 6, x, y, z)
        Updated in place; their norms over both images stay below alpha1 and alpha0.
    mask : ndarray of bool (x, y, z)
    inverse_size : ndarray (3,)
        1/mm.
    step, alpha1, alpha0 : float
    """
    _, nx, ny, nz = x.shape
    hx, hy, hz = inverse_size[0], inverse_size[1], inverse_size[2]
    zero, half, two = np.float32(0), np.float32(0.5), np.float32(2)
    for i in numba.prange(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if not mask[i, j, k]:
                    continue
                fx = hx if mask[i + 1, j, k] else zero
                fy = hy if mask[i, j + 1, k] else zero
                fz = hz if mask[i, j, k + 1] else zero
                bx = hx if mask[i - 1, j, k] else zero
                by = hy if mask[i, j - 1, k] else zero
                bz = hz if mask[i, j, k - 1] else zero
                first, second = zero, zero
                for c in range(2):
                    here = x[c, i, j, k]
                    a = y[c, 0, i, j, k] + step * (fx * (x[c, i + 1, j, k] - here) - w[c, 0, i, j, k])
                    b = y[c, 1, i, j, k] + step * (fy * (x[c, i, j + 1, k] - here) - w[c, 1, i, j, k])
                    d = y[c, 2, i, j, k] + step * (fz * (x[c, i, j, k + 1] - here) - w[c, 2, i, j, k])
                    y[c, 0, i, j, k], y[c, 1, i, j, k], y[c, 2, i, j, k] = a, b, d
                    first += a * a + b * b + d * d
                    u, v, t = w[c, 0, i, j, k], w[c, 1, i, j, k], w[c, 2, i, j, k]
                    xx = z[c, 0, i, j, k] + step * bx * (u - w[c, 0, i - 1, j, k])
                    yy = z[c, 1, i, j, k] + step * by * (v - w[c, 1, i, j - 1, k])
                    zz = z[c, 2, i, j, k] + step * bz * (t - w[c, 2, i, j, k - 1])
                    xy = z[c, 3, i, j, k] + step * half * (
                        by * (u - w[c, 0, i, j - 1, k]) + bx * (v - w[c, 1, i - 1, j, k])
                    )
                    xz = z[c, 4, i, j, k] + step * half * (
                        bz * (u - w[c, 0, i, j, k - 1]) + bx * (t - w[c, 2, i - 1, j, k])
                    )
                    yz = z[c, 5, i, j, k] + step * half * (
                        bz * (v - w[c, 1, i, j, k - 1]) + by * (t - w[c, 2, i, j - 1, k])
                    )
                    z[c, 0, i, j, k], z[c, 1, i, j, k], z[c, 2, i, j, k] = xx, yy, zz
                    z[c, 3, i, j, k], z[c, 4, i, j, k], z[c, 5, i, j, k] = xy, xz, yz
                    second += xx * xx + yy * yy + zz * zz + two * (xy * xy + xz * xz + yz * yz)
                if first > alpha1 * alpha1:
                    for c in range(2):
                        for e in range(3):
                            y[c, e, i, j, k] *= np.float32(alpha1 / math.sqrt(first))
                if second > alpha0 * alpha0:
                    for c in range(2):
                        for e in range(6):
                            z[c, e, i, j, k] *= np.float32(alpha0 / math.sqrt(second))


@numba.njit(cache=True, nogil=True, parallel=True)
def step_vectors(w, relaxed, y, z, mask, inverse_size, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Descend in `w`, and write what the next ascent is made from to `relaxed`."""
    _, _, nx, ny, nz = w.shape
    two, zero = np.float32(2), np.float32(0)
    hx, hy, hz = inverse_size[0], inverse_size[1], inverse_size[2]
    for i in numba.prange(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if not mask[i, j, k]:
                    continue
                fx = hx if mask[i + 1, j, k] else zero
                fy = hy if mask[i, j + 1, k] else zero
                fz = hz if mask[i, j, k + 1] else zero
                bx = hx if mask[i - 1, j, k] else zero
                by = hy if mask[i, j - 1, k] else zero
                bz = hz if mask[i, j, k - 1] else zero
                for c in range(2):
                    for e in range(3):
                        p, q, r = _PAIRS[e]
                        adjoint = (
                            bx * z[c, p, i, j, k] - fx * z[c, p, i + 1, j, k]
                            + by * z[c, q, i, j, k] - fy * z[c, q, i, j + 1, k]
                            + bz * z[c, r, i, j, k] - fz * z[c, r, i, j, k + 1]
                        )  # fmt: skip
                        old = w[c, e, i, j, k]
                        new = old + step * (y[c, e, i, j, k] - adjoint)
                        w[c, e, i, j, k] = new
                        relaxed[c, e, i, j, k] = two * new - old


@numba.njit(inline="always")
def gradient_adjoint_at(y, mask, inverse_size, c, i, j, k):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the adjoint of the gradient of image `c` at a voxel of the mask."""
    total = np.float32(0)
    if mask[i - 1, j, k]:
        total += inverse_size[0] * y[c, 0, i - 1, j, k]
    if mask[i + 1, j, k]:
        total -= inverse_size[0] * y[c, 0, i, j, k]
    if mask[i, j - 1, k]:
        total += inverse_size[1] * y[c, 1, i, j - 1, k]
    if mask[i, j + 1, k]:
        total -= inverse_size[1] * y[c, 1, i, j, k]
    if mask[i, j, k - 1]:
        total += inverse_size[2] * y[c, 2, i, j, k - 1]
    if mask[i, j, k + 1]:
        total -= inverse_size[2] * y[c, 2, i, j, k]
    return total
