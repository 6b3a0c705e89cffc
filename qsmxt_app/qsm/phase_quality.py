"""Reliability of the phase of each voxel, from its neighbours and from the other echoes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded

_TWO_PI = np.float32(2 * np.pi)
_INVERSE_TWO_PI = np.float32(1 / (2 * np.pi))
_PI = np.float32(np.pi)
_INVERSE_PI = np.float32(1 / np.pi)
_TINY = np.float32(1e-30)
_SLABS = 16


@njit(cache=True, nogil=True, inline="always")
def _wrap(angle: np.float32) -> np.float32:
    return angle - _TWO_PI * np.float32(np.rint(angle * _INVERSE_TWO_PI))


@njit(cache=True, nogil=True)
def _edge_quality(
    magnitude: FloatArray, phase: FloatArray, neighbour: FloatArray, its_phase: FloatArray, ratios: FloatArray
) -> tuple[np.float32, np.float32]:
    # for the voxel and for its neighbour: sum over echoes of its magnitude^2 times the weight of the edge,
    # which is the same for both; ratios[e] = TE[e - 1] / TE[e]
    own = its = first_own = first_its = previous = np.float32(0)
    for echo in range(magnitude.size):
        step = _wrap(its_phase[echo] - phase[echo])
        if np.isnan(step):
            step = _PI
        # anything but a positive number counts as no signal
        m = magnitude[echo] if magnitude[echo] > 0 else np.float32(0)
        n = neighbour[echo] if neighbour[echo] > 0 else np.float32(0)
        similarity = min(m, n) / max(m, n, _TINY)
        weight = similarity * similarity * (np.float32(1) - abs(step) * _INVERSE_PI)
        if echo == 0:
            first_own, first_its = m * m * weight, n * n * weight
        else:
            change = max(np.float32(0), np.float32(1) - abs(previous - step * ratios[echo]))
            own += m * m * weight * change
            its += n * n * weight * change
            if echo == 1:
                first_own, first_its = first_own * change, first_its * change
        previous = step
    return own + first_own, its + first_its


@njit(cache=True, nogil=True, inline="always")
def _power(magnitude: FloatArray) -> np.float32:
    power = np.float32(0)
    for m in magnitude:
        if m > 0:
            power += m * m
    return power


@threaded()
def _quality(
    first: int, last: int, magnitude: FloatArray, phase: FloatArray, ratios: FloatArray, total: FloatArray
) -> None:
    # Every edge is weighed once, from its lower voxel: a voxel's sum is complete once its upper edges are
    # added. Slabs come in fixed groups, so that the order of the sums does not depend on the number of
    # threads; the edges between two groups are weighed by both.
    nx, ny, nz, _ = magnitude.shape
    for group in range(first, last):
        start, stop = group * _SLABS, min((group + 1) * _SLABS, nx)
        for x in range(max(start - 1, 0), stop):
            for y in range(ny):
                for z in range(nz):
                    m, p = magnitude[x, y, z], phase[x, y, z]
                    own = np.float32(0)
                    if x + 1 < nx:
                        own, its = _edge_quality(m, p, magnitude[x + 1, y, z], phase[x + 1, y, z], ratios)
                        if x + 1 < stop:
                            total[x + 1, y, z] += its
                    if x < start:
                        continue
                    here = total[x, y, z] + own
                    if y + 1 < ny:
                        own, its = _edge_quality(m, p, magnitude[x, y + 1, z], phase[x, y + 1, z], ratios)
                        here += own
                        total[x, y + 1, z] += its
                    if z + 1 < nz:
                        own, its = _edge_quality(m, p, magnitude[x, y, z + 1], phase[x, y, z + 1], ratios)
                        here += own
                        total[x, y, z + 1] += its
                    edges = min(x, 1) + min(y, 1) + min(z, 1) + int(x + 1 < nx)
                    edges += int(y + 1 < ny) + int(z + 1 < nz)
                    all_power = np.float32(edges) * _power(m)
                    total[x, y, z] = here / all_power if all_power > 0 else 0


def phase_quality(
    magnitude: FloatArray, phase: FloatArray, echo_times: Sequence[float] | FloatArray
) -> FloatArray:
    """Quality of the phase of each voxel, from 0 (noise) to 1 (smooth in space and linear in time).

    Each edge between face neighbours gets the product of ROMEO's three weights: phase coherence
    ``1 - |d| / pi`` of the wrapped difference ``d``; phase gradient coherence ``1 - |d1 - d2 TE1 / TE2|``
    of two successive echoes (not below 0; left out for a single echo); magnitude coherence
    ``(min / max)^2``. A voxel takes the mean over its edges. Echoes are averaged with weights magnitude
    squared: an echo that has decayed to noise does not lower the quality that other echoes
    show.

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
    quality = np.zeros(magnitude.shape[:3], np.float32)
    _quality(-(-magnitude.shape[0] // _SLABS), images[0], images[1], ratios, quality)
    return quality
