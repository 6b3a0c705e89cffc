"""Frequency per voxel given a smooth offset, allowing for phase that is not linear in time."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.echo_fit import smallest_spacing
from qsmxt_app.qsm.nonlinear_phase import largest_difference, nonlinear_phase_covariance
from qsmxt_app.qsm.phase_line_fit import BLOCK, Block, fit_candidates, gather, reserve
from qsmxt_app.qsm.threads import threaded

NONLINEARITY_SIZES = np.geomspace(0.05, 20.0, 7)
"""Candidate SDs of the nonlinearity at the last echo, in rad."""

LEARNING_VOXELS = 10_000
"""Voxels of each class from which the candidates' frequencies are learned."""

CLASS_QUANTILES = (0.4, 0.7, 0.85, 0.95)
"""Quantiles of the local field difference in the mask that part the voxels into classes."""

START_SHARE = 0.125
"""SD of the starting frequency as a share of 1/dTE, where it helps to put late echoes on the right cycle."""


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
    """Fit the frequency with a Gaussian prior on the offset and, where the echoes show it, nonlinear phase.

    A spread of frequencies inside a voxel makes its phase nonlinear in time: the phase is the argument of the
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
        Where to learn how often phase is nonlinear.
    start : ndarray (x, y, z)
        Frequency in Hz on the right cycle.
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
    nonlinearity = nonlinear_phase_covariance(echo_times)
    sizes = np.append(0.0, NONLINEARITY_SIZES**2) if n > 1 else np.zeros(1)
    model: tuple = (2 * np.pi * echo_times, sizes, nonlinearity, START_SHARE / smallest_spacing(echo_times))
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
    out = (frequency.reshape(-1), error.reshape(-1), residual.reshape(-1))
    voxels = np.flatnonzero(support)
    _fit(voxels.size, voxels, data, model, (shares, classes.reshape(-1)), np.empty((0, 0)), out)
    return PosteriorFit(frequency, error, residual)


def _classes(start: FloatArray, support: BoolArray, mask: BoolArray) -> NDArray[np.uint8]:
    """Class of each voxel by its field's largest difference to a neighbour with signal."""
    difference = largest_difference(start, support)
    limits = np.quantile(difference[mask], CLASS_QUANTILES)
    return np.digitize(difference, limits).astype(np.uint8)


def _learn_shares(voxels: NDArray[np.int64], count: int, model: tuple, data: tuple) -> NDArray[np.float64]:
    """Share of voxels with each size of nonlinearity, by expectation maximisation."""
    if voxels.size == 0:
        return np.full(count, 1 / count)
    voxels = np.ascontiguousarray(voxels[:: max(1, voxels.size // LEARNING_VOXELS)])
    evidence = np.zeros((voxels.size, count))
    nothing = np.empty(0, np.float32)
    unused = np.empty((0, 0)), np.empty(0, np.uint8)
    _fit(voxels.size, voxels, data, model, unused, evidence, (nothing, nothing, nothing))
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    shares = np.full(count, 1 / count)
    for _ in range(30):
        joint = likelihood * shares
        shares = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        shares = np.maximum(shares, 1e-4) / np.maximum(shares, 1e-4).sum()
    return np.asarray(shares)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _average(block: Block, shares: NDArray, classes: NDArray[np.uint8]) -> None:
    """Average over the candidates: shift of the frequency against the straight line, and variance.

    They end up in `second` and `third`.
    """
    lowest, shift, square, total = block.first, block.second, block.third, block.fourth
    shift[:] = 0.0
    square[:] = 0.0
    total[:] = 0.0
    lowest[:] = np.inf
    for s in range(shares.shape[1]):
        for b in range(BLOCK):
            lowest[b] = min(lowest[b], block.misfit[s, b])
    for s in range(shares.shape[1]):
        for b in range(BLOCK):
            share = shares[classes[block.voxels[b]], s]
            weight = share * np.exp(-0.5 * (block.misfit[s, b] - lowest[b])) / np.sqrt(block.volume[s, b])
            own = block.slope[s, b] - block.slope[0, b]
            total[b] += weight
            shift[b] += weight * own
            square[b] += weight * (block.variance[s, b] + own * own)
    for b in range(BLOCK):
        shift[b] /= total[b]
        square[b] = square[b] / total[b] - shift[b] * shift[b]


@numba.njit(cache=True, nogil=True)
def _certainty(power: float, echoes: int) -> float:
    """1 where the echoes' power cannot be noise, 0 where it can: chi squared with 2n degrees of freedom."""
    beyond = power - 2.0 * echoes
    if beyond <= 0:
        return 1e-12
    return beyond * beyond / (beyond * beyond + 36.0 * echoes)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _write(
    block: Block,
    count: int,
    noise_level: float,
    t: NDArray,
    out: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    frequency, standard_error, residual = out
    for b in range(count):
        v = block.voxels[b]
        line = block.slope[0, b]
        weighted = 0.0
        weights = 0.0
        power = 0.0
        for e in range(t.size):
            weighted += (block.unwrapped[e, b] - line * t[e]) ** 2 / block.error[e, b]
            weights += 1 / block.error[e, b]
            power += (block.magnitude[e, b] / noise_level) ** 2
        frequency[v] = line + block.second[b]
        standard_error[v] = np.sqrt(block.third[b] / _certainty(power, t.size))
        residual[v] = np.sqrt(weighted / weights)


@threaded(error_model="numpy")
def _fit(
    first: int,
    last: int,
    voxels: NDArray[np.int64],
    data: tuple,
    model: tuple,
    selection: tuple,
    evidence: NDArray[np.float64],
    out: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    """Fit some voxels, block by block.

    Where `evidence` has room, (voxel, candidate), it gets the log evidence of every candidate up to a
    constant of the voxel, and nothing else is done: one loop for both, as the fit takes long to compile.
    """
    magnitude, phase, start, prior, prior_spread, noise_level = data
    t, sizes, nonlinearity, start_spread = model
    shares, classes = selection
    block = reserve(t.size, sizes.size)
    for at in range(first, last, BLOCK):
        count = min(BLOCK, last - at)
        for b in range(BLOCK):
            # a block that is not full repeats its first voxel
            block.voxels[b] = voxels[at + b if b < count else at]
        gather(magnitude, phase, start, prior, block)
        fit_candidates(block, prior_spread, noise_level, t, sizes, nonlinearity, start_spread)
        if evidence.size:
            for b in range(count):
                for s in range(sizes.size):
                    evidence[at + b, s] = -0.5 * (block.misfit[s, b] + np.log(block.volume[s, b]))
        else:
            _average(block, shares, classes)
            _write(block, count, noise_level, t, out)
