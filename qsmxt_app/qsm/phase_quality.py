"""How far the phase of each voxel can be trusted, judged by its neighbours and by the other echoes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_TWO_PI = np.float32(2 * np.pi)
_INVERSE_TWO_PI = np.float32(1 / (2 * np.pi))
_INVERSE_PI = np.float32(1 / np.pi)
_NEIGHBOURS = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], np.int64)


@njit(cache=True, nogil=True, inline="always")
def _wrap(angle: np.float32) -> np.float32:
    return angle - _TWO_PI * np.float32(np.rint(angle * _INVERSE_TWO_PI))


@njit(parallel=True, cache=True, nogil=True)
def _add_echo(  # noqa: PLR0917 (compiled functions take arguments by position)
    magnitude: FloatArray,
    phase: FloatArray,
    other_phase: FloatArray,
    time: np.float32,
    other_time: np.float32,
    total: FloatArray,
    weight: FloatArray,
) -> None:
    # adds magnitude^2 * quality to `total`, magnitude^2 to `weight`; other_time 0 means one echo only
    nx, ny, nz = magnitude.shape
    later = max(time, other_time)
    # phase per time, scaled to the earlier echo
    scale, other_scale = other_time / later, time / later
    for x in prange(nx):
        for y in range(ny):
            for z in range(nz):
                m = magnitude[x, y, z]
                if not m > 0:
                    continue
                edges, quality = 0, np.float32(0)
                for edge in range(6):
                    i, j, k = x + _NEIGHBOURS[edge, 0], y + _NEIGHBOURS[edge, 1], z + _NEIGHBOURS[edge, 2]
                    if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
                        continue
                    edges += 1
                    n = magnitude[i, j, k]
                    if not n > 0:
                        continue
                    step = _wrap(phase[i, j, k] - phase[x, y, z])
                    similarity = min(m, n) / max(m, n)
                    coherence = (np.float32(1) - abs(step) * _INVERSE_PI) * similarity * similarity
                    if other_time > 0:
                        other = _wrap(other_phase[i, j, k] - other_phase[x, y, z])
                        coherence *= max(
                            np.float32(0), np.float32(1) - abs(step * scale - other * other_scale)
                        )
                    quality += coherence
                if edges > 0:
                    total[x, y, z] += m * m * quality / np.float32(edges)
                weight[x, y, z] += m * m


def _echo(volume: FloatArray, index: int) -> FloatArray:
    return np.ascontiguousarray(volume[..., index], dtype=np.float32)


def phase_quality(
    magnitude: FloatArray, phase: FloatArray, echo_times: Sequence[float] | FloatArray
) -> FloatArray:
    """Quality of the phase of each voxel, from 0 (noise) to 1 (smooth in space and linear in time).

    Each edge between face neighbours gets the product of ROMEO's three weights: phase coherence
    ``1 - |d| / pi`` of the wrapped difference ``d``; phase gradient coherence ``1 - |d1 - d2 TE1 / TE2|``
    of two successive echoes (not below 0; left out for a single echo); magnitude coherence
    ``(min / max)^2``. A voxel takes the mean over its edges. Echoes are averaged with weights magnitude
    squared: an echo that has decayed to noise is no reason to distrust a voxel that the others show well.

    Parameters
    ----------
    magnitude : ndarray (x, y, z) or (x, y, z, echo)
        Magnitude in any unit; voxels without signal have quality 0.
    phase : ndarray, shape of `magnitude`
        Phase in rad, wrapped or not.
    echo_times : (echo,)
        Echo times in s, ascending.

    Returns
    -------
    ndarray (x, y, z)
        Phase quality.

    Raises
    ------
    ValueError
        If the shapes do not agree, or if the echo times do not ascend from above 0.

    References
    ----------
    Dymerska B, Eckstein K, Bachrata B, et al. Phase unwrapping with a rapid opensource minimum spanning tree
    algorithm (ROMEO). Magn Reson Med 85:2294-2308 (2021), equations 1-4.
    """
    times = np.atleast_1d(np.asarray(echo_times, dtype=float))
    if magnitude.shape != phase.shape:
        raise ValueError(f"magnitude {magnitude.shape} and phase {phase.shape} must have the same shape")
    if magnitude.ndim == 3:
        magnitude, phase = magnitude[..., None], phase[..., None]
    if magnitude.ndim != 4 or magnitude.shape[3] != times.size:
        raise ValueError(f"{times.size} echo times do not fit images of shape {magnitude.shape}")
    if times[0] <= 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"echo times must be positive and ascend, not {times.tolist()} s")
    total = np.zeros(magnitude.shape[:3], np.float32)
    weight = np.zeros_like(total)
    scale = np.float32(1 / max(float(np.nanmax(magnitude)), float(np.finfo(np.float32).tiny)))
    previous = _echo(phase, min(1, times.size - 1))
    other_time = times[1] if times.size > 1 else 0.0
    for echo, time in enumerate(times):
        current = _echo(phase, echo)
        scaled = _echo(magnitude, echo) * scale
        _add_echo(scaled, current, previous, np.float32(time), np.float32(other_time), total, weight)
        previous, other_time = current, time
    quality: FloatArray = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return quality
