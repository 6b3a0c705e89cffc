"""Complex images: real and imaginary parts to magnitude and phase, and uncombined channels to one image.

Arrays in, arrays out. Channels come one at a time, so that memory holds one of them and the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsmxt_app.arrays import ComplexArray, FloatArray
from qsmxt_app.qsm.offsets import signal_support
from qsmxt_app.qsm.phase import repair_alternating_slices, wrap_phase
from qsmxt_app.qsm.smooth_phase import smooth_phase
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.qsm.unwrapping.romeo import unwrap_romeo

Channel = Callable[[int], ComplexArray]
"""Complex image (x, y, z) of one channel, read for an echo (from 0) whenever it is called."""

SMOOTHING_MM = 6.0
"""SD of the Gaussian that smooths a channel's phase: sensitivities of coils vary over centimetres."""


@dataclass(frozen=True)
class Polar:
    """A complex image.

    Attributes
    ----------
    magnitude : ndarray, float32
        Units of the input.
    phase : ndarray, float32
        rad, in [-pi, pi).
    """

    magnitude: FloatArray
    phase: FloatArray


def polar_from_parts(real: ArrayLike, imaginary: ArrayLike) -> Polar:
    """Magnitude and phase of real and imaginary parts.

    Parameters
    ----------
    real, imaginary : array_like
        Of the same shape, slope and intercept applied.

    Raises
    ------
    ValueError
        If the shapes differ or both parts are zero everywhere.
    """
    first, second = np.asarray(real, dtype=np.float32), np.asarray(imaginary, dtype=np.float32)
    if first.shape != second.shape:
        raise ValueError(f"the real part has shape {first.shape}, the imaginary part {second.shape}")
    if not (first.any() and second.any()):
        raise ValueError("the real or the imaginary part is zero everywhere")
    return Polar(np.hypot(first, second), wrap_phase(np.arctan2(second, first)))


def slices_alternate(echo: Polar) -> bool:
    """Whether the sign of the signal (x, y, z) alternates from slice to slice, along z.

    See `qsmxt_app.qsm.phase.repair_alternating_slices`.
    """
    return repair_alternating_slices(echo.magnitude[..., None], echo.phase[..., None])[1]


def add_pi_to_every_second_slice(phase: FloatArray) -> FloatArray:
    """Phase (x, y, z) in rad with pi added in every second slice along z."""
    half_cycles = (np.arange(phase.shape[2]) % 2 * np.pi).astype(np.float32)
    return wrap_phase(phase + half_cycles)


def combine_channels(
    channels: Sequence[Channel], echo_times: Sequence[float], *, voxel_size: Sequence[float]
) -> list[Polar]:
    """Combine uncombined channels to one complex image an echo.

    Each channel's own phase is removed before the channels are added, weighted by their magnitude, so that
    they never cancel: adding phases or unaligned signals leaves singularities where the channels disagree.
    With several echoes the phase at TE = 0 is a channel's own (MCPC-3D-S: the phase that evolves between
    the first two echoes, unwrapped in space, is extrapolated back). A single echo is compared with a
    virtual reference coil, the sum of all channels aligned in the middle of the object.

    Parameters
    ----------
    channels
        Each returns its complex image (x, y, z) of one echo; called twice at most for each echo (four
        times for a single one).
    echo_times
        s, ascending.
    voxel_size
        mm.

    Returns
    -------
    list of Polar
        Root sum of squares and phase of each echo. Phase has no offset with several echoes but for errors
        common to all channels; with one echo it has the smooth offset of the virtual coil.

    Raises
    ------
    ValueError
        If there is no channel, no signal, or echo times do not ascend.

    References
    ----------
    Eckstein K, Dymerska B, et al. Magn Reson Med 79:2996-3006 (2018), MCPC-3D-S.
    Parker DL, Payne A, et al. Magn Reson Med 72:563-569 (2014), virtual reference coil.
    """
    times = np.asarray(echo_times, dtype=float)
    if not channels:
        raise ValueError("there is no channel to combine")
    if times.size == 0 or not np.all(np.diff(times, prepend=0) > 0):
        raise ValueError(f"echo times must be positive and ascend: {list(echo_times)}")
    if times.size == 1:
        reference = np.conj(_virtual_coil(channels, voxel_size))
    else:
        reference = _evolution_to_first_echo(channels, times)
    return [
        Polar(np.sqrt(power), wrap_phase(np.angle(combined)))
        for combined, power in _combine(channels, times.size, reference, voxel_size)
    ]


def _evolution_to_first_echo(channels: Sequence[Channel], times: NDArray[np.float64]) -> ComplexArray:
    """Phasor that takes the first echo back to TE = 0, the same for all channels."""
    between = np.zeros(0, np.complex64)
    for channel in channels:
        product = np.conj(channel(0)) * channel(1)
        between = between + product if between.size else product
    size = np.sqrt(np.abs(between))
    if not size.any():
        raise ValueError("the channels hold no signal")
    unwrapped = unwrap_romeo(
        np.angle(between).astype(np.float32), mask=signal_support(size[..., None]), magnitude=size
    )
    angle = unwrapped * np.float32(times[0] / (times[1] - times[0]))
    return np.asarray(np.exp(-1j * angle), dtype=np.complex64)


def _combine(
    channels: Sequence[Channel],
    n_echoes: int,
    reference: ComplexArray,
    voxel_size: Sequence[float],
) -> list[tuple[ComplexArray, FloatArray]]:
    """Weighted sum without each channel's own phase, and sum of squares, for each echo.

    A channel's own phase is that of its first echo times `reference`, smoothed.
    """
    sums: list[tuple[ComplexArray, FloatArray]] = []
    for channel in channels:
        first = np.ascontiguousarray(channel(0), dtype=np.complex64)
        if not sums:
            sums = [(np.zeros_like(first), np.zeros(first.shape, np.float32)) for _ in range(n_echoes)]
        own = first * reference
        offset = smooth_phase(
            np.angle(own), np.abs(own), voxel_size=voxel_size, sigma=SMOOTHING_MM, cell=SMOOTHING_MM / 2
        )
        for echo, (combined, power) in enumerate(sums):
            signal = first if echo == 0 else np.ascontiguousarray(channel(echo), dtype=np.complex64)
            _add(signal.size, signal.reshape(-1), offset.reshape(-1), combined.reshape(-1), power.reshape(-1))
    return sums


@threaded()
def _add(
    first: int, last: int, signal: ComplexArray, offset: FloatArray, combined: ComplexArray, power: FloatArray
) -> None:
    for v in range(first, last):
        size = abs(signal[v])
        aligned = signal[v] * complex(np.cos(offset[v]), -np.sin(offset[v]))
        combined[v] += size * aligned
        power[v] += size * size


def _virtual_coil(channels: Sequence[Channel], voxel_size: Sequence[float]) -> ComplexArray:
    """Sum of the channels, their phases made equal in the middle of the object."""
    power = np.zeros(0, np.float32)
    for channel in channels:
        square = np.abs(channel(0)) ** 2
        power = power + square if power.size else square
    if not power.any():
        raise ValueError("the channels hold no signal")
    middle = _middle_weight(power, voxel_size)
    strongest = max(range(len(channels)), key=lambda c: float(np.sum(middle * np.abs(channels[c](0)) ** 2)))
    guide = middle * np.conj(channels[strongest](0))
    total = np.zeros(power.shape, np.complex64)
    for channel in channels:
        signal = channel(0)
        total += signal * np.complex64(np.exp(-1j * np.angle(np.sum(guide * signal))))
    return total


def _middle_weight(power: FloatArray, voxel_size: Sequence[float]) -> FloatArray:
    """Gaussian around the centroid of the object, as wide as the smoothing."""
    inside = signal_support(np.sqrt(power)[..., None])
    axes = [np.arange(n, dtype=np.float32) for n in power.shape]
    grids = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = sum(
        ((g - float(np.mean(np.broadcast_to(g, power.shape)[inside]))) * v / SMOOTHING_MM) ** 2
        for g, v in zip(grids, voxel_size, strict=True)
    )
    return np.asarray(np.exp(-0.5 * np.asarray(distance)), dtype=np.float32)
