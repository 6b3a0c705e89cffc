"""Frequency per voxel given a smooth offset, with room for a phase that is not linear in time."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.qsm.bending import CHUNK, bending_covariance, cholesky, largest_difference
from qsmxt_app.qsm.echo_fit import smallest_spacing, wrapped_angle

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

BENDING_SIZES = np.geomspace(0.05, 20.0, 7)
"""Candidate SDs of the bending at the last echo, in rad."""

LEARNING_VOXELS = 10_000
"""Voxels of each class from which the candidates' frequencies are learned."""

CLASS_QUANTILES = (0.4, 0.7, 0.85, 0.95)
"""Quantiles of the local field difference in the mask that part the voxels into classes."""

DOUBTFUL_POWER = 18.0
"""Signal power over noise power (SNR of 4) about which a single magnitude may still be chance."""

START_SHARE = 0.125
"""SD of the starting frequency as a share of 1/dTE, where it helps to put late echoes on the right turn."""


@dataclass(frozen=True)
class PosteriorFit:
    """Frequency and its error.

    Attributes
    ----------
    frequency : ndarray (x, y, z)
        Hz.
    standard_error : ndarray (x, y, z)
        Hz.
    residual : ndarray (x, y, z)
        Weighted root mean square over echoes of phase less a straight line, in rad.
    """

    frequency: FloatArray
    standard_error: FloatArray
    residual: FloatArray


def fit_with_offset(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: NDArray[np.float64],
    *,
    support: BoolArray,
    mask: BoolArray,
    start: FloatArray,
    offset: FloatArray,
    offset_spread: float,
    noise_level: float,
) -> PosteriorFit:
    """Fit the frequency with a Gaussian prior on the offset and, where the echoes ask for it, a bent line.

    A spread of frequencies inside a voxel bends its phase over time: the phase is the argument of the
    spread's characteristic function, whose first term alone is the mean frequency. At the rim, at air and
    in vessels this moves the slope of a straight line more than noise does. So the phase is a line plus a
    Gaussian process that grows as t^2.5; its size is averaged over candidates by their likelihood (Bayesian
    model averaging: Hoeting et al., Stat Sci 14:382 (1999)), which is a straight line wherever that fits.
    How often each candidate occurs is learned from the volume itself (expectation maximisation), apart for
    voxels where the field changes little and much towards their neighbours. Late echoes then count as much
    as they still say about the mean frequency.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo), contiguous
        Magnitude, and phase in rad.
    echo_times : ndarray (echo,)
        s.
    support : ndarray (x, y, z)
        Where to fit; elsewhere everything is 0.
    mask : ndarray (x, y, z)
        Where to learn how often phase is bent.
    start : ndarray (x, y, z)
        Frequency in Hz on the right turn.
    offset : ndarray (x, y, z)
        Mean of the offset's prior in rad.
    offset_spread
        SD of the offset's prior in rad.
    noise_level
        SD of the noise in either channel.

    Returns
    -------
    PosteriorFit
    """
    n = echo_times.size
    bending = bending_covariance(echo_times)
    sizes = np.append(0.0, BENDING_SIZES**2) if n > 1 else np.zeros(1)
    model: tuple = (2 * np.pi * echo_times, sizes, bending, START_SHARE / smallest_spacing(echo_times))
    data: tuple = (
        magnitude.reshape(-1, n),
        phase.reshape(-1, n),
        start.reshape(-1),
        offset.reshape(-1),
        float(offset_spread),
        float(noise_level),
    )
    classes = _classes(start, support, mask)
    shares = np.stack(
        [
            _learn_shares(np.flatnonzero(mask & (classes == c)), sizes.size, model, data)
            for c in range(len(CLASS_QUANTILES) + 1)
        ]
    )
    frequency, error, residual = (np.zeros(support.shape, np.float32) for _ in range(3))
    selection = (np.log(shares), classes.reshape(-1), support.reshape(-1))
    _fit(*data, *model, *selection, frequency.reshape(-1), error.reshape(-1), residual.reshape(-1))  # type: ignore[call-arg]
    return PosteriorFit(frequency, error, residual)


def _classes(start: FloatArray, support: BoolArray, mask: BoolArray) -> NDArray[np.uint8]:
    """Class of each voxel by its field's largest difference to a neighbour with signal."""
    difference = largest_difference(start, support)
    limits = np.quantile(difference[mask], CLASS_QUANTILES)
    return np.digitize(difference, limits).astype(np.uint8)


def _learn_shares(voxels: NDArray[np.int64], count: int, model: tuple, data: tuple) -> NDArray[np.float64]:
    """Share of voxels with each size of bending, by expectation maximisation."""
    if voxels.size == 0:
        return np.full(count, 1 / count)
    voxels = voxels[:: max(1, voxels.size // LEARNING_VOXELS)]
    evidence = np.zeros((voxels.size, count))
    _evidence(*data, *model, voxels, evidence)  # type: ignore[call-arg]
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    shares = np.full(count, 1 / count)
    for _ in range(30):
        joint = likelihood * shares
        shares = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        shares = np.maximum(shares, 1e-4) / np.maximum(shares, 1e-4).sum()
    return np.asarray(shares)


Work = tuple[NDArray, NDArray, NDArray, NDArray, NDArray]
"""Unwrapped phase and its error (echo,), covariance (echo, echo), whitened time and phase (2, echo), and
slope, variance and log evidence of the candidates (candidate, 3)."""


@numba.njit(cache=True, nogil=True)
def _reserve(echoes: int, candidates: int) -> Work:
    """Work space of a loop over voxels."""
    return (
        np.empty(echoes),
        np.empty(echoes),
        np.empty((echoes, echoes)),
        np.empty((2, echoes)),
        np.empty((candidates, 3)),
    )


@numba.njit(cache=True, nogil=True)
def _unwrap_in_time(
    ph: FloatArray, prior: float, t: NDArray, error: NDArray, start: float, start_spread: float, out: NDArray
) -> None:
    """Put every echo on the turn nearest to the line through the offset and the echoes before it."""
    above = start / (start_spread * start_spread)
    below = 1 / (start_spread * start_spread)
    for e in range(t.size):
        predicted = above / below * t[e]
        out[e] = predicted + wrapped_angle(ph[e] - prior - predicted)
        growth = 0.3 * (t[e] / t[-1]) ** 3
        weight = 1 / (error[e] + growth * growth)
        above += weight * t[e] * out[e]
        below += weight * t[e] * t[e]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _line(covariance: NDArray, y: NDArray, t: NDArray, white: NDArray) -> tuple[float, float, float]:
    """Generalised least squares of y on t, overwriting its input: slope, its variance, log evidence."""
    n = t.size
    log_determinant = cholesky(covariance)
    tt = 0.0
    ty = 0.0
    yy = 0.0
    for i in range(n):
        a = t[i]
        b = y[i]
        for k in range(i):
            a -= covariance[i, k] * white[0, k]
            b -= covariance[i, k] * white[1, k]
        inverse = 1 / covariance[i, i]
        a *= inverse
        b *= inverse
        white[0, i] = a
        white[1, i] = b
        tt += a * a
        ty += a * b
        yy += b * b
    return ty / tt, 1 / tt, -0.5 * (yy - ty * ty / tt + log_determinant + np.log(tt))


@numba.njit(cache=True, nogil=True)
def _certainty(mag: FloatArray, noise_level: float) -> float:
    """1 where the echoes' power cannot be noise, 0 where it can: chi squared with 2n degrees of freedom."""
    beyond = -2.0 * mag.size
    for e in range(mag.size):
        beyond += (mag[e] / noise_level) ** 2
    if beyond <= 0:
        return 1e-12
    return beyond * beyond / (beyond * beyond + 36.0 * mag.size)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _candidates(
    mag: FloatArray,
    ph: FloatArray,
    start: float,
    prior: float,
    prior_spread: float,
    noise_level: float,
    t: NDArray,
    sizes: NDArray,
    bending: NDArray,
    start_spread: float,
    work: Work,
) -> None:
    """Slope, variance and log evidence of each candidate, and the voxel's unwrapped phase and error."""
    y, error, covariance, white, out = work
    n = t.size
    noise_power = noise_level * noise_level
    common = prior_spread * prior_spread
    for e in range(n):
        power = np.float64(mag[e]) ** 2
        # noise alone must not pass for signal
        sure = power * (1 - np.exp(-power / (DOUBTFUL_POWER * noise_power)))
        error[e] = noise_power / max(sure, 1e-3 * power + 1e-30)
    _unwrap_in_time(ph, prior, t, error, start, start_spread, y)
    for s in range(sizes.size):
        for i in range(n):
            for j in range(i + 1):
                covariance[i, j] = common + sizes[s] * bending[i, j]
            covariance[i, i] += error[i]
        out[s, 0], out[s, 1], out[s, 2] = _line(covariance, y, t, white)


@numba.njit(cache=True, nogil=True)
def _evidence(
    magnitude: FloatArray,
    phase: FloatArray,
    start: FloatArray,
    prior: FloatArray,
    prior_spread: float,
    noise_level: float,
    t: NDArray,
    sizes: NDArray,
    bending: NDArray,
    start_spread: float,
    voxels: NDArray,
    evidence: NDArray,
) -> None:
    work = _reserve(t.size, sizes.size)
    for i in range(voxels.size):
        v = voxels[i]
        _candidates(
            magnitude[v], phase[v], start[v], prior[v], prior_spread, noise_level,
            t, sizes, bending, start_spread, work,
        )  # fmt: skip
        evidence[i] = work[4][:, 2]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _average(work: Work, t: NDArray, shares: NDArray) -> tuple[float, float, float]:
    """Frequency and variance averaged over the candidates, and the residual of the straight line."""
    y, error, _, _, found = work
    line = found[0, 0]
    highest = -np.inf
    for s in range(shares.size):
        highest = max(highest, found[s, 2] + shares[s])
    total = 0.0
    mean = 0.0
    square = 0.0
    for s in range(shares.size):
        weight = np.exp(found[s, 2] + shares[s] - highest)
        shift = found[s, 0] - line
        total += weight
        mean += weight * shift
        square += weight * (found[s, 1] + shift * shift)
    mean /= total
    weighted = 0.0
    weights = 0.0
    for e in range(t.size):
        weighted += (y[e] - line * t[e]) ** 2 / error[e]
        weights += 1 / error[e]
    return line + mean, square / total - mean * mean, np.sqrt(weighted / weights)


@numba.njit(parallel=True, cache=True, nogil=True)
def _fit(
    magnitude: FloatArray,
    phase: FloatArray,
    start: FloatArray,
    prior: FloatArray,
    prior_spread: float,
    noise_level: float,
    t: NDArray,
    sizes: NDArray,
    bending: NDArray,
    start_spread: float,
    log_shares: NDArray,
    classes: NDArray[np.uint8],
    selected: BoolArray,
    frequency: FloatArray,
    standard_error: FloatArray,
    residual: FloatArray,
) -> None:
    for chunk in numba.prange(-(-magnitude.shape[0] // CHUNK)):
        work = _reserve(t.size, sizes.size)
        for v in range(chunk * CHUNK, min((chunk + 1) * CHUNK, magnitude.shape[0])):
            if not selected[v]:
                continue
            _candidates(
                magnitude[v], phase[v], start[v], prior[v], prior_spread, noise_level,
                t, sizes, bending, start_spread, work,
            )  # fmt: skip
            frequency[v], variance, residual[v] = _average(work, t, log_shares[classes[v]])
            standard_error[v] = np.sqrt(variance / _certainty(magnitude[v], noise_level))
