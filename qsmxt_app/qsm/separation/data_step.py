"""What chi and R2' say about both sources of a voxel, in closed form."""

from __future__ import annotations

import numba
import numpy as np

from qsmxt_app.qsm.separation.pair_variation import gradient_adjoint_at


@numba.njit(inline="always")
def _shrunk(value, data, weight, limit, stiffness):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Minimise Huber's loss of a distance from `data` and `stiffness` / 2 times that from `value` squared."""
    total = (weight * data + stiffness * value) / (weight + stiffness)
    if total - data > limit:
        total = value - weight * limit / stiffness
    elif data - total > limit:
        total = value + weight * limit / stiffness
    return total


@numba.njit(inline="always")
def nearest_sources(p, m, chi, chi_weight, total, total_weight, limit, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Find the sources that agree best with chi, with the sum of both, and with given ones.

    They minimise, over p and m that are not negative, ::

        chi_weight / 2 * (p - m - chi)^2 + total_weight * huber(p + m - total)
            + ((p - p_given)^2 + (m - m_given)^2) / (2 step)

    with Huber's loss, quadratic up to `limit`: R2' of compact sources, such as veins, is far from what
    chi suggests, and is not to pull them with its square.

    Returns
    -------
    tuple of 2 floats
    """
    # difference and sum of the sources are independent of each other but for the signs of both
    stiffness = np.float32(0.5) / step
    difference = (chi_weight * chi + stiffness * (p - m)) / (chi_weight + stiffness)
    whole = _shrunk(p + m, total, total_weight, limit, stiffness)
    if abs(difference) <= whole:
        return np.float32(0.5) * (whole + difference), np.float32(0.5) * (whole - difference)
    # one of them is zero: which, the difference tells
    sign = np.float32(1) if difference > 0 else np.float32(-1)
    held = chi_weight + np.float32(2) * stiffness
    alone = (chi_weight * sign * chi + stiffness * (sign * (p - m) + p + m)) / held
    alone = max(_shrunk(alone, total, total_weight, limit, held), np.float32(0))
    if sign > 0:
        return alone, np.float32(0)
    return np.float32(0), alone


@numba.njit(cache=True, nogil=True, parallel=True)
def step_sources(x, relaxed, y, mask, inverse_size, step, chi, chi_weight, total, total_weight, limit):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Descend in both sources, and write what the next ascent is made from to `relaxed`.

    Parameters
    ----------
    x, relaxed : ndarray (2, x, y, z)
        Updated in place: paramagnetic and diamagnetic sources.
    y : ndarray (2, 3, x, y, z)
        Dual of their gradient.
    mask : ndarray of bool (x, y, z)
    inverse_size : ndarray (3,)
        1/mm.
    step : float
    chi, chi_weight, total, total_weight : ndarray (x, y, z)
        Data and inverse variances.
    limit : float
        See :func:`nearest_sources`.
    """
    _, nx, ny, nz = x.shape
    two = np.float32(2)
    for i in numba.prange(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if not mask[i, j, k]:
                    continue
                a, b = x[0, i, j, k], x[1, i, j, k]
                p, m = nearest_sources(
                    a - step * gradient_adjoint_at(y, mask, inverse_size, 0, i, j, k),
                    b - step * gradient_adjoint_at(y, mask, inverse_size, 1, i, j, k),
                    chi[i, j, k], chi_weight[i, j, k], total[i, j, k], total_weight[i, j, k], limit, step,
                )  # fmt: skip
                x[0, i, j, k], x[1, i, j, k] = p, m
                relaxed[0, i, j, k], relaxed[1, i, j, k] = two * p - a, two * m - b
