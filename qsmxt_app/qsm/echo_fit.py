"""Voxelwise fit of frequency and phase offset to the complex echoes: the loops below the field map."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.threads import threaded

CYCLES = 2
"""Aliases of the first frequency to either side that unevenly spaced echoes are asked about."""


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
        Sum over echoes of the squared distance of the signal from the ray of the fitted phase.
    """

    frequency: FloatArray
    offset: FloatArray
    information: FloatArray
    misfit: FloatArray


def smallest_spacing(echo_times: NDArray[np.float64]) -> float:
    """Echo spacing in s that decides where the frequency wraps: 1/spacing Hz (TE itself of a single echo)."""
    return float(np.diff(echo_times).min()) if echo_times.size > 1 else float(echo_times[0])


def _congruent(echo_times: NDArray[np.float64]) -> bool:
    """Whether a frequency and its alias at the smallest spacing fit all echoes alike."""
    spacings = (echo_times - echo_times[0]) / smallest_spacing(echo_times)
    return bool(np.all(np.abs(spacings - np.rint(spacings)) < 0.05))


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
    the nearest cycle of the fit so far, and Fisher-scoring steps on the complex likelihood finish the fit:
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
        SD of the noise in either channel; its power is subtracted from the weights.

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
    )
    _fit_free(
        magnitude.shape[0],
        magnitude,
        phase,
        2 * np.pi * echo_times,
        2 * np.pi * smallest_spacing(echo_times),
        0 if _congruent(echo_times) else CYCLES,
        selected,
        noise_level,
        fit.frequency,
        fit.offset,
        fit.information,
        fit.misfit,
    )
    return fit


@numba.njit(cache=True, nogil=True)
def wrapped_angle(angle: float) -> float:
    """Angle in rad, wrapped to +-pi (compiled, for use in loops over voxels)."""
    return float(angle - 2 * np.pi * np.rint(angle * (0.5 / np.pi)))


@numba.njit(cache=True, nogil=True)
def distance_from_ray(size: float, angle: float) -> float:
    """Distance of a complex number from the ray along the real axis, given its size and angle."""
    return size * np.sin(angle) if np.cos(angle) > 0 else size


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
    return float(np.arctan2(imaginary, real) / spacing)


@numba.njit(cache=True, nogil=True)
def _fit_from(
    mag: FloatArray, ph: FloatArray, t: NDArray, start: float, noise_power: float
) -> tuple[float, float, float, float, float, float]:
    """Fit one voxel from a first frequency: frequency, offset, the three information sums and the misfit."""
    n = t.size
    f = start
    a = np.float64(ph[0]) - f * t[0]
    sw = 0.0
    swt = 0.0
    swtt = 0.0
    # add one echo at a time, so that the cycle of a late echo is decided by all the earlier ones
    for last in range(1, n + 2):
        sw = 0.0
        swt = 0.0
        swtt = 0.0
        ga = 0.0
        gf = 0.0
        for e in range(min(last + 1, n)):
            # inverse variance of the phase, up to a constant: the signal's power, of which noise is a part
            w = max(mag[e] * mag[e] - noise_power, 1e-6 * mag[e] * mag[e])
            r = wrapped_angle(ph[e] - a - f * t[e])
            # with all echoes in, the sine: the gradient of the sum of cosines, which is the likelihood
            if last >= n:
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
    misfit = 0.0
    for e in range(n):
        misfit += distance_from_ray(np.float64(mag[e]), ph[e] - a - f * t[e]) ** 2
    return f, a, sw, swt, swtt, misfit


@threaded()
def _fit_free(
    first: int,
    last: int,
    magnitude: FloatArray,
    phase: FloatArray,
    t: NDArray,
    spacing: float,
    cycles: int,
    selected: BoolArray,
    noise_level: float,
    frequency: FloatArray,
    offset: FloatArray,
    information: FloatArray,
    misfit: FloatArray,
) -> None:
    noise_power = 2 * noise_level * noise_level
    for v in range(first, last):
        if not selected[v]:
            continue
        mag = magnitude[v]
        ph = phase[v]
        start = _first_frequency(mag, ph, t, spacing)
        best = _fit_from(mag, ph, t, start, noise_power)
        for cycle in range(1, cycles + 1):
            for sign in (1, -1):
                other = _fit_from(mag, ph, t, start + sign * cycle * 2 * np.pi / spacing, noise_power)
                if other[5] < best[5]:
                    best = other
        frequency[v] = best[0]
        offset[v] = wrapped_angle(best[1])
        information[v, 0] = best[2]
        information[v, 1] = best[3]
        information[v, 2] = best[4]
        misfit[v] = best[5]
