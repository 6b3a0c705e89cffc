"""R2*, T2* and S0 from the decay of the magnitude over echoes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.magnitude import smooth_level
from qsmxt_app.qsm.noise import noise_from_ratio
from qsmxt_app.qsm.threads import threaded

LONGEST_T2STAR = 2.0
"""s; no decay is seen in gradient echoes beyond it, and images cannot hold infinity."""

TISSUE_SHARE = 0.6
"""Share of the local level of the signal below which a voxel is taken to hold bone or air."""

BORDER_VOXELS = 3
"""Outermost voxels of an image that are not taken for tissue, whatever their signal."""

LARGEST_EXTRAPOLATION = 2.0
"""Largest ratio of the magnitude at TE = 0 to that of the first echo: noise seems to decay at any rate."""


@dataclass(frozen=True)
class Relaxation:
    """Effective transverse relaxation; everything is 0 outside the mask.

    Attributes
    ----------
    r2star : ndarray (x, y, z)
        1/s.
    t2star : ndarray (x, y, z)
        s, at most 2.
    s0 : ndarray (x, y, z)
        Magnitude at TE = 0.
    """

    r2star: FloatArray
    t2star: FloatArray
    s0: FloatArray


def fit_relaxation(
    magnitude: FloatArray,
    echo_times: Sequence[float] | NDArray,
    *,
    mask: BoolArray,
    noise_level: float | None = None,
) -> Relaxation:
    """Fit a mono-exponential decay to the magnitude.

    A log-linear fit weighted by the squared magnitude starts Levenberg-Marquardt steps on the expectation of
    the magnitude, which noise lifts where the signal has decayed: the Rician mean, in the closed form
    sqrt(S^2 + b(S) s^2) that runs from the noise floor sqrt(pi/2) s to sqrt(S^2 + s^2).

    Parameters
    ----------
    magnitude : ndarray (x, y, z, echo)
        Magnitude of two echoes or more.
    echo_times : (echo,)
        s, ascending.
    mask : ndarray (x, y, z)
        Where to fit.
    noise_level
        SD of the noise in either channel, in units of the magnitude; None: from the ratio of two echoes.

    Returns
    -------
    Relaxation

    Raises
    ------
    ValueError
        If there are fewer than two echoes, shapes or echo times do not fit together, the mask is empty, or
        values inside it are NaN or negative.

    References
    ----------
    Gudbjartsson H, Patz S. Magn Reson Med 34:910-914 (1995): Rician mean.
    """
    times = _check(magnitude, echo_times, mask)
    if noise_level is None:
        noise_level = noise_from_ratio(magnitude, mask)
    maps = [np.zeros(mask.shape, np.float32) for _ in range(3)]
    _fit(
        mask.size,
        np.ascontiguousarray(magnitude, dtype=np.float32).reshape(-1, times.size),
        times,
        np.ascontiguousarray(mask).reshape(-1),
        float(noise_level),
        # a voxel that decays faster has lost all but 1 % of its signal between the first two echoes
        float(np.log(100) / (times[1] - times[0])),
        *(image.reshape(-1) for image in maps),
    )
    return Relaxation(*maps)


def has_tissue_signal(
    magnitude: FloatArray, echo_times: Sequence[float] | NDArray, voxel_size: Sequence[float]
) -> BoolArray:
    """Where the magnitude at TE = 0 is that of tissue around: not where bone or air fill half of a voxel.

    Parameters
    ----------
    magnitude : ndarray (x, y, z, echo)
        Any unit.
    echo_times : (echo,)
        s, ascending.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z), bool
        True where the extrapolated magnitude exceeds `TISSUE_SHARE` of its local level, but not at the border
        of the image, as what lies beyond is unknown. Nowhere for a single echo: a vein that has decayed looks
        like bone there, and what is bright beside bone would be taken for its tissue.
    """
    times = np.asarray(echo_times, dtype=np.float64)
    tissue = np.zeros(magnitude.shape[:3], bool)
    if times.size == 1:
        return tissue
    first = np.empty(tissue.shape, np.float32)
    _extrapolate(
        first.size,
        np.ascontiguousarray(magnitude, dtype=np.float32).reshape(-1, times.size),
        times,
        float(np.log(LARGEST_EXTRAPOLATION) / times[0]),
        first.reshape(-1),
    )
    inner = (slice(BORDER_VOXELS, -BORDER_VOXELS),) * 3
    tissue[inner] = (first > TISSUE_SHARE * smooth_level(first, voxel_size))[inner]
    return tissue


@threaded()
def _extrapolate(
    first: int, last: int, magnitude: FloatArray, t: NDArray, fastest: float, out: FloatArray
) -> None:
    for v in range(first, last):
        out[v] = _log_linear(magnitude[v], t, fastest)[0]


def _check(
    magnitude: FloatArray, echo_times: Sequence[float] | NDArray, mask: BoolArray
) -> NDArray[np.float64]:
    times = np.asarray(echo_times, dtype=np.float64)
    if magnitude.ndim != 4 or times.shape != magnitude.shape[3:]:
        raise ValueError(f"magnitude {magnitude.shape} must be (x, y, z, echo) with {times.size} echoes")
    if times.size < 2:
        raise ValueError("relaxation needs at least two echoes, and there is one")
    if not (np.isfinite(times).all() and times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError(f"echo times must be positive and ascending, in s, not {times.tolist()}")
    if mask.shape != magnitude.shape[:3]:
        raise ValueError(f"the mask {mask.shape} does not have the images' shape {magnitude.shape[:3]}")
    if not mask.any():
        raise ValueError("the mask is empty")
    inside = magnitude[mask]
    if not (np.isfinite(inside).all() and inside.min() >= 0):
        raise ValueError("the magnitude contains NaN, infinite or negative values inside the mask")
    return times


@numba.njit(cache=True, nogil=True)
def _rician_mean(signal: float, noise_level: float) -> tuple[float, float]:
    """Expected magnitude of a signal in complex noise, and its derivative by the signal."""
    if noise_level <= 0:
        return signal, 1.0
    power = signal * signal / (noise_level * noise_level)
    # exp(-20) of the noise is nothing, and an exponential is what this function costs
    fading = (np.pi / 2 - 1) * np.exp(-RICIAN_RATE * power) if RICIAN_RATE * power < 20 else 0.0
    mean = noise_level * np.sqrt(power + 1 + fading)
    slope = signal * (1 - RICIAN_RATE * fading) / mean
    return mean, slope


RICIAN_RATE = 0.32
"""Fading of the noise floor with signal power over noise power, fitted to the Rician mean's exact form."""


SMALLEST_CHANGE = 1e-4
"""Last step of the fit in log S0 and R2* TE; as steps shrink by their square, the next would be 1e-8."""


@numba.njit(cache=True, nogil=True)
def _log_linear(m: FloatArray, t: NDArray, fastest: float) -> tuple[float, float]:
    sw = 0.0
    st = 0.0
    stt = 0.0
    sl = 0.0
    slt = 0.0
    for e in range(t.size):
        value = np.float64(m[e])
        if value > 0:
            w = value * value
            log = np.log(value)
            sw += w
            st += w * t[e]
            stt += w * t[e] * t[e]
            sl += w * log
            slt += w * log * t[e]
    det = sw * stt - st * st
    if sw <= 0 or det <= 1e-12 * sw * stt:
        return 0.0, 0.0
    rate = min(max((st * sl - sw * slt) / det, 0.0), fastest)
    return np.exp((sl + rate * st) / sw), rate


@numba.njit(cache=True, nogil=True)
def _normal_equations(
    m: FloatArray, t: NDArray, s0: float, rate: float, noise_level: float
) -> tuple[float, float, float, float, float, float]:
    """Sum of squared residuals, and the normal equations of a step in log s0 and rate."""
    cost = 0.0
    jss = 0.0
    jsr = 0.0
    jrr = 0.0
    gs = 0.0
    gr = 0.0
    for e in range(t.size):
        decay = np.exp(-rate * t[e])
        mean, slope = _rician_mean(s0 * decay, noise_level)
        ds = slope * decay * s0  # by log s0, so that the two parameters have like scales
        dr = -slope * decay * s0 * t[e]
        difference = m[e] - mean
        cost += difference**2
        jss += ds * ds
        jsr += ds * dr
        jrr += dr * dr
        gs += ds * difference
        gr += dr * difference
    return cost, jss, jsr, jrr, gs, gr


@threaded()
def _fit(
    first: int,
    last: int,
    magnitude: FloatArray,
    t: NDArray,
    mask: BoolArray,
    noise_level: float,
    fastest: float,
    r2star: FloatArray,
    t2star: FloatArray,
    s0_map: FloatArray,
) -> None:
    for v in range(first, last):
        if not mask[v]:
            continue
        m = magnitude[v]
        s0, rate = _log_linear(m, t, fastest)
        if s0 <= 0:
            t2star[v] = 0.0
            continue
        here = _normal_equations(m, t, s0, rate, noise_level)
        damping = 1e-3
        for _ in range(25):
            cost, jss, jsr, jrr, gs, gr = here
            # Levenberg-Marquardt: with much damping a short step down the gradient, with little a step of
            # Gauss-Newton. The step of s0 is one of its logarithm, which keeps it positive.
            a = jss * (1 + damping)
            d = jrr * (1 + damping)
            det = a * d - jsr * jsr
            if det <= 1e-30 * a * d or det == 0.0:
                break
            step_s = min(max((d * gs - jsr * gr) / det, -1.0), 1.0)
            step_r = (a * gr - jsr * gs) / det
            new_rate = min(max(rate + step_r, 0.0), fastest)
            new_s0 = s0 * np.exp(step_s)
            there = _normal_equations(m, t, new_s0, new_rate, noise_level)
            if there[0] <= cost:
                change = abs(new_rate - rate) * t[-1] + abs(step_s)
                s0 = new_s0
                rate = new_rate
                here = there
                damping *= 0.2
                if change < SMALLEST_CHANGE:
                    break
            else:
                damping *= 8.0
                if damping > 1e6:
                    break
        r2star[v] = rate
        t2star[v] = min(1.0 / rate, LONGEST_T2STAR) if rate > 0 else LONGEST_T2STAR
        s0_map[v] = s0
