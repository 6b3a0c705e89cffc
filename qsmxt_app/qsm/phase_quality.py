"""How far the phase of each voxel can be trusted, judged by its neighbours and by the other echoes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_TWO_PI = np.float32(2 * np.pi)
_INVERSE_TWO_PI = np.float32(1 / (2 * np.pi))
_PI = np.float32(np.pi)
_INVERSE_PI = np.float32(1 / np.pi)
_NEIGHBOURS = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], np.int64)


@njit(cache=True, nogil=True, inline="always")
def _wrap(angle: np.float32) -> np.float32:
    return angle - _TWO_PI * np.float32(np.rint(angle * _INVERSE_TWO_PI))


@njit(cache=True, nogil=True, inline="always")
def _edge_quality(
    magnitude: FloatArray, phase: FloatArray, neighbour: FloatArray, its_phase: FloatArray, ratios: FloatArray
) -> np.float32:
    # sum over echoes of magnitude^2 times the weight of the edge; ratios[e] = TE[e - 1] / TE[e]
    echoes = magnitude.size
    total = first = previous = np.float32(0)
    for echo in range(echoes):
        step = _wrap(its_phase[echo] - phase[echo])
        if np.isnan(step):
            step = _PI
        m, n = magnitude[echo], neighbour[echo]
        weight = np.float32(0)
        if m > 0 and n > 0:
            similarity = min(m, n) / max(m, n)
            weight = m * m * similarity * similarity * (np.float32(1) - abs(step) * _INVERSE_PI)
        if echoes == 1:
            total = weight
        elif echo == 0:
            first = weight
        else:
            change = max(np.float32(0), np.float32(1) - abs(previous - step * ratios[echo]))
            total += weight * change
            if echo == 1:
                total += first * change
        previous = step
    return total


@njit(parallel=True, cache=True, nogil=True)
def _quality(magnitude: FloatArray, phase: FloatArray, ratios: FloatArray) -> FloatArray:
    nx, ny, nz, echoes = magnitude.shape
    quality = np.zeros((nx, ny, nz), np.float32)
    for x in prange(nx):
        for y in range(ny):
            for z in range(nz):
                power = np.float32(0)
                for echo in range(echoes):
                    m = magnitude[x, y, z, echo]
                    if m > 0:
                        power += m * m
                if not power > 0:
                    continue
                edges, total = 0, np.float32(0)
                for edge in range(6):
                    i, j, k = x + _NEIGHBOURS[edge, 0], y + _NEIGHBOURS[edge, 1], z + _NEIGHBOURS[edge, 2]
                    if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
                        continue
                    edges += 1
                    total += _edge_quality(
                        magnitude[x, y, z], phase[x, y, z], magnitude[i, j, k], phase[i, j, k], ratios
                    )
                if edges > 0:
                    quality[x, y, z] = total / (power * np.float32(edges))
    return quality


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
    ratios = np.ones(times.size, np.float32)
    ratios[1:] = times[:-1] / times[1:]
    images = [np.ascontiguousarray(image, dtype=np.float32) for image in (magnitude, phase)]
    quality: FloatArray = _quality(images[0], images[1], ratios)
    return quality
