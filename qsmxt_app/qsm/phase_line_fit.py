"""Lines through the phase of many voxels at once, with candidate sizes of a nonlinearity: compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.echo_fit import wrapped_angle

BLOCK = 64
"""Voxels that are fitted side by side, so that the processor takes several in one instruction."""

DOUBTFUL_POWER = 18.0
"""Signal power over noise power (SNR of 4) about which a single magnitude may still be chance."""


class Block(NamedTuple):
    """Voxels side by side: their data, the unwrapped phase with its error, and the lines of all candidates.

    The last axis of each array is the voxel's. `rows` to `white_phase` belong to the factorisation,
    `first` to `fourth` are for sums, and `volume` is the determinant of the covariance over that of the
    echoes' errors, times the precision of the line.
    """

    voxels: NDArray[np.int64]
    magnitude: NDArray
    phase: NDArray
    start: NDArray
    prior: NDArray
    unwrapped: NDArray
    error: NDArray
    rows: NDArray
    scaled: NDArray
    inverse: NDArray
    white_time: NDArray
    white_phase: NDArray
    first: NDArray
    second: NDArray
    third: NDArray
    fourth: NDArray
    slope: NDArray
    variance: NDArray
    misfit: NDArray
    volume: NDArray


@numba.njit(cache=True, nogil=True)
def reserve(echoes: int, candidates: int) -> Block:
    """Work space of a loop over blocks of voxels (compiled)."""
    return Block(
        np.zeros(BLOCK, np.int64),
        np.empty((echoes, BLOCK)),
        np.empty((echoes, BLOCK)),
        np.empty(BLOCK),
        np.empty(BLOCK),
        np.empty((echoes, BLOCK)),
        np.empty((echoes, BLOCK)),
        np.empty((echoes, echoes, BLOCK)),
        np.empty((echoes, echoes, BLOCK)),
        np.empty((echoes, BLOCK)),
        np.empty((echoes, BLOCK)),
        np.empty((echoes, BLOCK)),
        np.empty(BLOCK),
        np.empty(BLOCK),
        np.empty(BLOCK),
        np.empty(BLOCK),
        np.empty((candidates, BLOCK)),
        np.empty((candidates, BLOCK)),
        np.empty((candidates, BLOCK)),
        np.empty((candidates, BLOCK)),
    )


@numba.njit(cache=True, nogil=True)
def gather(
    magnitude: FloatArray,
    phase: FloatArray,
    start: FloatArray,
    prior: FloatArray,
    block: Block,
) -> None:
    """Copy the data of the block's voxels (compiled)."""
    for b in range(BLOCK):
        v = block.voxels[b]
        for e in range(magnitude.shape[1]):
            block.magnitude[e, b] = magnitude[v, e]
            block.phase[e, b] = phase[v, e]
        block.start[b] = start[v]
        block.prior[b] = prior[v]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _find_errors(magnitude: NDArray, noise_power: float, error: NDArray) -> None:
    """Variance of the phase of every echo."""
    for e in range(magnitude.shape[0]):
        for b in range(BLOCK):
            power = magnitude[e, b] * magnitude[e, b]
            # noise alone must not pass for signal
            ratio = power / (DOUBTFUL_POWER * noise_power)
            sure = power * (1 - np.exp(-ratio)) if ratio < 40 else power
            error[e, b] = noise_power / max(sure, 1e-3 * power + 1e-30)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _unwrap_in_time(
    phase: NDArray,
    prior: NDArray,
    t: NDArray,
    error: NDArray,
    start: NDArray,
    start_spread: float,
    above: NDArray,
    below: NDArray,
    out: NDArray,
) -> None:
    """Put every echo on the cycle nearest to the line through the offset and the echoes before it."""
    for b in range(BLOCK):
        below[b] = 1 / (start_spread * start_spread)
        above[b] = start[b] * below[b]
    for e in range(t.size):
        growth = 0.3 * (t[e] / t[-1]) ** 3
        for b in range(BLOCK):
            predicted = above[b] / below[b] * t[e]
            out[e, b] = predicted + wrapped_angle(phase[e, b] - prior[b] - predicted)
            weight = 1 / (error[e, b] + growth * growth)
            above[b] += weight * t[e] * out[e, b]
            below[b] += weight * t[e] * t[e]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _factorise(
    error: NDArray,
    covariance: NDArray,
    rows: NDArray,
    scaled: NDArray,
    inverse: NDArray,
    total: NDArray,
    volume: NDArray,
) -> None:
    """Factors of diag(error) + covariance = L D L': L D, L, 1/D, and the determinant over the error's."""
    volume[:] = 1.0
    for i in range(error.shape[0]):
        for j in range(i + 1):
            total[:] = covariance[i, j]
            for k in range(j):
                for b in range(BLOCK):
                    total[b] -= rows[i, k, b] * scaled[j, k, b]
            if j < i:
                for b in range(BLOCK):
                    rows[i, j, b] = total[b]
                    scaled[i, j, b] = total[b] * inverse[j, b]
            else:
                for b in range(BLOCK):
                    total[b] += error[i, b]
                    inverse[i, b] = 1 / total[b]
                    # the echoes' errors span tens of orders of magnitude: their product would overflow
                    volume[b] *= total[b] / error[i, b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _whiten(scaled: NDArray, total: NDArray, out: NDArray) -> None:
    """Solve L x = y in place."""
    for i in range(out.shape[0]):
        for b in range(BLOCK):
            total[b] = out[i, b]
        for k in range(i):
            for b in range(BLOCK):
                total[b] -= scaled[i, k, b] * out[k, b]
        for b in range(BLOCK):
            out[i, b] = total[b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fit_lines(block: Block, t: NDArray, sizes: NDArray, nonlinearity: NDArray, common: float) -> None:
    """Generalised least squares of the phase on time for every candidate."""
    tt, ty, yy = block.second, block.third, block.fourth
    for s in range(sizes.size):
        volume = block.volume[s]
        covariance = common + sizes[s] * nonlinearity
        _factorise(block.error, covariance, block.rows, block.scaled, block.inverse, block.first, volume)
        for e in range(t.size):
            for b in range(BLOCK):
                block.white_phase[e, b] = block.unwrapped[e, b]
                block.white_time[e, b] = t[e]
        _whiten(block.scaled, block.first, block.white_time)
        _whiten(block.scaled, block.first, block.white_phase)
        tt[:] = 0.0
        ty[:] = 0.0
        yy[:] = 0.0
        for e in range(t.size):
            for b in range(BLOCK):
                time = block.white_time[e, b] * block.inverse[e, b]
                tt[b] += time * block.white_time[e, b]
                ty[b] += time * block.white_phase[e, b]
                yy[b] += block.white_phase[e, b] * block.white_phase[e, b] * block.inverse[e, b]
        for b in range(BLOCK):
            block.slope[s, b] = ty[b] / tt[b]
            block.variance[s, b] = 1 / tt[b]
            block.misfit[s, b] = yy[b] - ty[b] * ty[b] / tt[b]
            volume[b] *= tt[b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fit_candidates(
    block: Block,
    prior_spread: float,
    noise_level: float,
    t: NDArray,
    sizes: NDArray,
    nonlinearity: NDArray,
    start_spread: float,
) -> None:
    """Fit a line with every candidate size of the nonlinearity (compiled).

    Sets `unwrapped`, `error`, `slope`, `variance`, `misfit` and `volume` of the block. Factors L D L' need no
    square root, and side by side the voxels' divisions do not wait for each other.
    """
    _find_errors(block.magnitude, noise_level * noise_level, block.error)
    _unwrap_in_time(
        block.phase, block.prior, t, block.error, block.start, start_spread,
        block.first, block.second, block.unwrapped,
    )  # fmt: skip
    _fit_lines(block, t, sizes, nonlinearity, prior_spread * prior_spread)
