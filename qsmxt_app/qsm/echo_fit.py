"""Voxelwise fit of frequency and phase offset to the complex echoes: the loops below the field map."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

PRIOR_FREEDOM = 4.0
"""Degrees of freedom by which a voxel's chi squared is held to its expectation: few echoes say little."""


@dataclass(frozen=True)
class EchoFit:
    """Frequency and offset per voxel with the curvature of their joint likelihood.

    Attributes
    ----------
    frequency : ndarray (voxels,)
        Hz.
    offset : ndarray (voxels,)
        Phase at TE = 0 in rad, in [-pi, pi).
    information : ndarray (voxels, 3)
        Sums over echoes of w, w*t and w*t^2, with w the squared magnitude less the noise and t = 2 pi TE:
        the Fisher information of (offset, t-slope) times the noise variance.
    misfit : ndarray (voxels,)
        Sum of squares of the signal's component across the fitted phase, in squared magnitude units.
    used : ndarray (voxels,)
        Number of echoes that the fit kept.
    """

    frequency: FloatArray
    offset: FloatArray
    information: FloatArray
    misfit: FloatArray
    used: NDArray[np.uint8]


def smallest_spacing(echo_times: NDArray[np.float64]) -> float:
    """Echo spacing in s that decides where the frequency wraps: 1/spacing Hz (TE itself of a single echo)."""
    return float(np.diff(echo_times).min()) if echo_times.size > 1 else float(echo_times[0])


def fit_echoes(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: NDArray[np.float64],
    selected: BoolArray,
    *,
    noise_level: float = 0.0,
) -> EchoFit:
    """Fit frequency and offset freely, with no prior, from all echoes.

    The echoes closest together give a first frequency (Lank 1973); echo after echo is then added, wrapped to
    the nearest turn of the fit so far, and Fisher-scoring steps on the complex likelihood finish the fit:
    it maximises sum_e w_e cos(phase_e - offset - 2 pi f TE_e), the profile likelihood of a complex signal
    in Gaussian noise (Liu T et al., Magn Reson Med 69:467 (2013)).

    Parameters
    ----------
    magnitude, phase : ndarray (voxels, echo), contiguous
        Magnitude, and phase in rad.
    echo_times : ndarray (echo,)
        s, ascending, at least two.
    selected : ndarray (voxels,)
        Where to fit; elsewhere everything is 0.
    noise_level
        SD of the noise in either channel; its power is taken off the weights.

    Returns
    -------
    EchoFit
    """
    count = magnitude.shape[0]
    fit = EchoFit(
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
        np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32),
        np.zeros(count, np.uint8),
    )
    _fit_free(
        magnitude,
        phase,
        2 * np.pi * echo_times,
        2 * np.pi * smallest_spacing(echo_times),
        selected,
        noise_level,
        fit.frequency,
        fit.offset,
        fit.information,
        fit.misfit,
        fit.used,
    )
    return fit


def phase_at_frequency(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: NDArray[np.float64],
    frequency: FloatArray,
    selected: BoolArray,
) -> FloatArray:
    """Phase at TE = 0 of the echoes, given their frequency.

    Parameters
    ----------
    magnitude, phase : ndarray (voxels, echo), contiguous
        Magnitude, and phase in rad.
    echo_times : ndarray (echo,)
        s.
    frequency : ndarray (voxels,)
        Hz.
    selected : ndarray (voxels,)
        Where to compute; 0 elsewhere.

    Returns
    -------
    ndarray (voxels,)
        rad, in [-pi, pi].
    """
    offset = np.zeros(magnitude.shape[0], np.float32)
    _phase_at_frequency(magnitude, phase, 2 * np.pi * echo_times, frequency, selected, offset)
    return offset


@dataclass(frozen=True)
class PriorFit:
    """Frequency per voxel, given what is known of the offset.

    Attributes
    ----------
    frequency : ndarray (voxels,)
        Hz.
    standard_error : ndarray (voxels,)
        Hz: from the noise level, larger where the echoes do not follow the model.
    residual : ndarray (voxels,)
        Weighted root mean square over echoes of phase less model, in rad.
    """

    frequency: FloatArray
    standard_error: FloatArray
    residual: FloatArray


def fit_with_offset(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: NDArray[np.float64],
    selected: BoolArray,
    *,
    start: FloatArray,
    offset: FloatArray,
    offset_spread: float,
    noise_level: float,
) -> PriorFit:
    """Fit the frequency with a Gaussian prior on the offset.

    The standard error is the Cramer-Rao bound of the posterior, times the square root of the voxel's reduced
    chi squared where that exceeds 1.

    Parameters
    ----------
    magnitude, phase : ndarray (voxels, echo), contiguous
        Magnitude, and phase in rad.
    echo_times : ndarray (echo,)
        s.
    selected : ndarray (voxels,)
        Where to fit; elsewhere everything is 0.
    start : ndarray (voxels,)
        Frequency in Hz on the right turn.
    offset : ndarray (voxels,)
        Mean of the prior in rad.
    offset_spread
        SD of the prior in rad.
    noise_level
        SD of the noise in either channel.

    Returns
    -------
    PriorFit
    """
    count = magnitude.shape[0]
    fit = PriorFit(*(np.zeros(count, np.float32) for _ in range(3)))
    _fit_prior(
        magnitude,
        phase,
        2 * np.pi * echo_times,
        selected,
        start,
        offset,
        offset_spread,
        noise_level,
        fit.frequency,
        fit.standard_error,
        fit.residual,
    )
    return fit


@numba.njit(cache=True, nogil=True, inline="always")
def _wrapped(angle: float) -> float:
    return angle - 2 * np.pi * np.rint(angle * (0.5 / np.pi))


@numba.njit(cache=True, nogil=True)
def _first_frequency(mag: FloatArray, ph: FloatArray, t: NDArray, spacing: float) -> float:
    """Slope in Hz from the sum of the products of echoes at the smallest spacing."""
    real = 0.0
    imaginary = 0.0
    for e in range(t.size - 1):
        step = t[e + 1] - t[e]
        if step < 1.01 * spacing:
            product = mag[e + 1] * mag[e]
            angle = ph[e + 1] - ph[e]
            real += product * np.cos(angle)
            imaginary += product * np.sin(angle)
    return np.arctan2(imaginary, real) / spacing


@numba.njit(parallel=True, cache=True, nogil=True)
def _fit_free(
    magnitude: FloatArray,
    phase: FloatArray,
    t: NDArray,
    spacing: float,
    selected: BoolArray,
    noise_level: float,
    frequency: FloatArray,
    offset: FloatArray,
    information: FloatArray,
    misfit: FloatArray,
    used: NDArray,
) -> None:
    n = t.size
    noise_power = 2 * noise_level * noise_level
    for v in numba.prange(magnitude.shape[0]):
        if not selected[v]:
            continue
        mag = magnitude[v]
        ph = phase[v]
        f = _first_frequency(mag, ph, t, spacing)
        a = np.float64(ph[0]) - f * t[0]
        sw = 0.0
        swt = 0.0
        swtt = 0.0
        # add one echo at a time, so that the turn of a late echo is decided by all the earlier ones
        for last in range(1, n + 2):
            final = last >= n
            sw = 0.0
            swt = 0.0
            swtt = 0.0
            ga = 0.0
            gf = 0.0
            for e in range(min(last + 1, n)):
                w = max(mag[e] * mag[e] - noise_power, 1e-6 * mag[e] * mag[e])
                r = _wrapped(ph[e] - a - f * t[e])
                if final:
                    r = np.sin(r)
                sw += w
                swt += w * t[e]
                swtt += w * t[e] * t[e]
                ga += w * r
                gf += w * r * t[e]
            det = sw * swtt - swt * swt
            if det <= 1e-9 * sw * swtt:
                break
            a += (swtt * ga - swt * gf) / det
            f += (sw * gf - swt * ga) / det
        rss = 0.0
        for e in range(n):
            across = mag[e] * np.sin(ph[e] - a - f * t[e])
            rss += across * across
        frequency[v] = f
        offset[v] = _wrapped(a)
        information[v, 0] = sw
        information[v, 1] = swt
        information[v, 2] = swtt
        misfit[v] = rss
        used[v] = n


@numba.njit(parallel=True, cache=True, nogil=True)
def _phase_at_frequency(
    magnitude: FloatArray, phase: FloatArray, t: NDArray, frequency: FloatArray, selected: BoolArray, offset: FloatArray
) -> None:
    for v in numba.prange(magnitude.shape[0]):
        if not selected[v]:
            continue
        real = 0.0
        imaginary = 0.0
        for e in range(t.size):
            w = magnitude[v, e] * magnitude[v, e]
            angle = phase[v, e] - frequency[v] * t[e]
            real += w * np.cos(angle)
            imaginary += w * np.sin(angle)
        offset[v] = np.arctan2(imaginary, real)


STEPS = 5


@numba.njit(parallel=True, cache=True, nogil=True)
def _fit_prior(
    magnitude: FloatArray,
    phase: FloatArray,
    t: NDArray,
    selected: BoolArray,
    start: FloatArray,
    prior: FloatArray,
    spread: float,
    noise_level: float,
    frequency: FloatArray,
    standard_error: FloatArray,
    residual: FloatArray,
) -> None:
    n = t.size
    noise_power = noise_level * noise_level
    held = noise_power / (spread * spread)
    for v in numba.prange(magnitude.shape[0]):
        if not selected[v]:
            continue
        mag = magnitude[v]
        ph = phase[v]
        f = np.float64(start[v])
        a = 0.0
        sw = 0.0
        swt = 0.0
        swtt = 0.0
        for _ in range(STEPS):
            sw = held
            swt = 0.0
            swtt = 0.0
            ga = -held * a
            gf = 0.0
            for e in range(n):
                w = max(mag[e] * mag[e] - 2 * noise_power, 1e-6 * mag[e] * mag[e])
                r = np.sin(ph[e] - prior[v] - a - f * t[e])
                sw += w
                swt += w * t[e]
                swtt += w * t[e] * t[e]
                ga += w * r
                gf += w * r * t[e]
            det = sw * swtt - swt * swt
            if det <= 0:
                break
            a += (swtt * ga - swt * gf) / det
            f += (sw * gf - swt * ga) / det
        chi_squared = a * a / (spread * spread)
        weighted = 0.0
        total = 0.0
        for e in range(n):
            power = np.float64(mag[e]) * mag[e]
            r = _wrapped(ph[e] - prior[v] - a - f * t[e])
            chi_squared += power * np.sin(r) ** 2 / noise_power
            weighted += power * r * r
            total += power
        det = sw * swtt - swt * swt
        variance = noise_power * sw / det if det > 0 else np.inf
        excess = max(1.0, (PRIOR_FREEDOM + chi_squared) / (PRIOR_FREEDOM + n - 1))
        frequency[v] = f
        standard_error[v] = np.sqrt(variance * excess)
        residual[v] = np.sqrt(weighted / total) if total > 0 else 0.0
