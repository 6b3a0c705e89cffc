"""Phase that is nonlinear in time, as frequencies differ inside a voxel, and the offset in spite of it."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.echo_fit import wrapped_angle
from qsmxt_app.qsm.threads import threaded

NONLINEARITY_POWER = 2.5
"""Growth of the nonlinearity with time: second and third cumulants of frequency give t^2 and t^3."""

NONLINEARITY_LENGTH = 0.7
"""Correlation of the nonlinearity between echoes, as a share of the last echo time."""

GRADIENT_SHARE = 0.2
"""Nonlinearity at the last echo, as a share of the phase by which neighbouring voxels differ there."""


def nonlinear_phase_covariance(echo_times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance between echoes of the phase's departure from a line, 1 at the last echo.

    A spread of frequencies inside a voxel makes its phase the argument of the spread's characteristic
    function: the mean frequency gives a line; the second cumulant (with a spread of decays) and the third
    make it nonlinear.

    Parameters
    ----------
    echo_times : ndarray (echo,)
        s.

    Returns
    -------
    ndarray (echo, echo)
        rad^2 for a nonlinearity of 1 rad at the last echo.
    """
    relative = echo_times / echo_times[-1]
    distance = (relative[:, None] - relative) / NONLINEARITY_LENGTH
    return np.asarray(np.outer(relative, relative) ** NONLINEARITY_POWER * np.exp(-0.5 * distance**2))


def fit_offset(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: NDArray[np.float64],
    frequency: FloatArray,
    difference: FloatArray,
    selected: BoolArray,
    noise_level: float,
) -> tuple[FloatArray, FloatArray]:
    """Phase at TE = 0 by generalised least squares, with nonlinearity in proportion to the field's gradient.

    Parameters
    ----------
    magnitude, phase : ndarray (voxels, echo), contiguous
        Magnitude, and phase in rad; at least two echoes.
    echo_times : ndarray (echo,)
        s.
    frequency : ndarray (voxels,)
        Hz, on the right cycle.
    difference : ndarray (voxels,)
        Largest difference of the frequency to a neighbour, in Hz.
    selected : ndarray (voxels,)
        Where to fit; elsewhere everything is 0.
    noise_level
        SD of the noise in either channel.

    Returns
    -------
    offset : ndarray (voxels,)
        rad, in [-pi, pi).
    precision : ndarray (voxels,)
        Its inverse variance.
    """
    offset, precision = (np.zeros(magnitude.shape[0], np.float32) for _ in range(2))
    size = GRADIENT_SHARE * 2 * np.pi * float(echo_times[-1])
    _fit_offset(
        magnitude.shape[0],
        magnitude,
        phase,
        2 * np.pi * echo_times,
        nonlinear_phase_covariance(echo_times),
        frequency,
        difference * np.float32(size),
        selected,
        noise_level,
        offset,
        precision,
    )
    return offset, precision


def largest_difference(image: FloatArray, support: BoolArray) -> FloatArray:
    """Largest absolute difference of each voxel to its six neighbours in the support.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Any quantity.
    support : ndarray (x, y, z)
        Voxels that count.

    Returns
    -------
    ndarray (x, y, z)
        In units of the image; 0 outside the support.
    """
    out = np.zeros(image.shape, np.float32)
    _largest_difference(image, support, out)
    return out


@numba.njit(cache=True, nogil=True)
def _largest_difference(image: FloatArray, support: BoolArray, out: FloatArray) -> None:
    nx, ny, nz = image.shape
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                largest = np.float32(0)
                if support[x, y, z]:
                    for side in range(6):
                        step = 1 - 2 * (side % 2)
                        i = x + step if side // 2 == 0 else x
                        j = y + step if side // 2 == 1 else y
                        k = z + step if side // 2 == 2 else z
                        if 0 <= i < nx and 0 <= j < ny and 0 <= k < nz and support[i, j, k]:
                            largest = max(largest, abs(image[i, j, k] - image[x, y, z]))
                out[x, y, z] = largest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cholesky(covariance: NDArray) -> float:
    """Cholesky factor in place (lower triangle), compiled; returns the log determinant."""
    n = covariance.shape[0]
    log_determinant = 0.0
    product = 1.0
    for j in range(n):
        pivot = covariance[j, j]
        for k in range(j):
            pivot -= covariance[j, k] * covariance[j, k]
        product *= pivot
        # few logarithms, and no overflow
        if not 1e-100 < product < 1e100:
            log_determinant += np.log(product)
            product = 1.0
        covariance[j, j] = np.sqrt(pivot)
        inverse = 1 / covariance[j, j]
        for i in range(j + 1, n):
            total = covariance[i, j]
            for k in range(j):
                total -= covariance[i, k] * covariance[j, k]
            covariance[i, j] = total * inverse
    return float(log_determinant + np.log(product))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _offset_of_voxel(
    mag: FloatArray,
    ph: FloatArray,
    t: NDArray,
    nonlinearity: NDArray,
    frequency: float,
    size: float,
    noise_level: float,
    covariance: NDArray,
    white: NDArray,
) -> tuple[float, float]:
    """Offset and its precision by whitened least squares of the phase on a constant and time."""
    n = t.size
    first = np.float64(ph[0]) - frequency * t[0]
    before = 0.0
    for i in range(n):
        for j in range(i + 1):
            covariance[i, j] = size * size * nonlinearity[i, j]
        covariance[i, i] += noise_level * noise_level / (np.float64(mag[i]) ** 2 + 1e-30)
        white[i, 0] = 1.0
        white[i, 1] = t[i]
        before += wrapped_angle(ph[i] - first - frequency * t[i] - before)
        white[i, 2] = before
    cholesky(covariance)
    oo, ot, tt, oy, ty = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        for c in range(3):
            for k in range(i):
                white[i, c] -= covariance[i, k] * white[k, c]
            white[i, c] /= covariance[i, i]
        oo += white[i, 0] * white[i, 0]
        ot += white[i, 0] * white[i, 1]
        tt += white[i, 1] * white[i, 1]
        oy += white[i, 0] * white[i, 2]
        ty += white[i, 1] * white[i, 2]
    determinant = oo * tt - ot * ot
    if determinant <= 1e-9 * oo * tt:
        return 0.0, 0.0
    return wrapped_angle(first + (tt * oy - ot * ty) / determinant), determinant / tt


@threaded()
def _fit_offset(
    first: int,
    last: int,
    magnitude: FloatArray,
    phase: FloatArray,
    t: NDArray,
    nonlinearity: NDArray,
    frequency: FloatArray,
    size: FloatArray,
    selected: BoolArray,
    noise_level: float,
    offset: FloatArray,
    precision: FloatArray,
) -> None:
    n = t.size
    covariance, white = np.empty((n, n)), np.empty((n, 3))
    for v in range(first, last):
        if selected[v]:
            offset[v], precision[v] = _offset_of_voxel(
                magnitude[v],
                phase[v],
                t,
                nonlinearity,
                frequency[v],
                size[v],
                noise_level,
                covariance,
                white,
            )
