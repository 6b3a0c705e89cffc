"""Phase at TE = 0: the coils' offset and the difference between readout polarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.echo_fit import fit_echoes, smallest_spacing
from qsmxt_app.qsm.noise import noise_from_misfit, noise_from_texture
from qsmxt_app.qsm.nonlinear_phase import fit_offset, largest_difference
from qsmxt_app.qsm.phase import wrap_phase
from qsmxt_app.qsm.smooth_phase import smooth_phase
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.qsm.unwrapping.romeo import unwrap_romeo

SMALLEST_SPREAD = 0.002
"""rad; no offset is known better than this."""

SMALLEST_NOISE = 1e-6
"""Share of the largest magnitude; simulations may have no noise at all."""


@dataclass(frozen=True)
class OffsetCorrection:
    """Phase without offsets, and the offsets.

    Attributes
    ----------
    phase : ndarray (x, y, z, echo)
        rad, in [-pi, pi).
    offset : ndarray (x, y, z)
        Smooth phase at TE = 0 that was removed, in rad.
    readout_difference : ndarray (x, y, z) or None
        Phase of the first readout polarity less that of the second, in rad; None where not bipolar.
    """

    phase: FloatArray
    offset: FloatArray
    readout_difference: FloatArray | None


@dataclass(frozen=True)
class SmoothOffset:
    """The smooth part of the phase at TE = 0.

    Attributes
    ----------
    offset : ndarray (x, y, z)
        rad, in [-pi, pi).
    spread : float
        SD of the voxels' own offsets about it, in rad.
    frequency : ndarray (x, y, z)
        Spatially unwrapped frequency in Hz that belongs to the offset.
    noise_level : float
        SD of the noise in either channel, in units of the magnitude.
    """

    offset: FloatArray
    spread: float
    frequency: FloatArray
    noise_level: float


def remove_offsets(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: Sequence[float] | NDArray,
    *,
    mask: BoolArray,
    voxel_size: Sequence[float],
    bipolar: bool = False,
) -> OffsetCorrection:
    """Remove the phase offset, and the readout-polarity difference of bipolar trains, from multi-echo phase.

    As in MCPC-3D-S the frequency is unwrapped in space, extrapolated to TE = 0, and what remains there is
    smoothed. Unlike there all echoes enter, and the smoothing is neither confined to the mask nor pulled
    inwards at its rim (see :func:`~qsmxt_app.qsm.smooth_phase.smooth_phase`).

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Magnitude, and phase in rad.
    echo_times : (echo,)
        s, ascending.
    mask : ndarray (x, y, z)
        Region of interest; voxels with signal outside it are used too.
    voxel_size
        mm.
    bipolar
        Whether echoes alternate between readout polarities. Needs three echoes: with fewer the difference
        is a linear field, which background removal takes out.

    Returns
    -------
    OffsetCorrection
        A single echo comes back unchanged with an offset of zero.

    Raises
    ------
    ValueError
        If shapes or echo times do not fit together, or values are NaN.

    References
    ----------
    Eckstein K, Dymerska B, et al. Magn Reson Med 79:2996-3006 (2018).
    Li J, Chang S, Liu T, et al. Magn Reson Med 74:1372-1379 (2015).
    """
    times = check_echoes(magnitude, phase, echo_times, mask)
    difference = None
    if bipolar and times.size >= 3:
        difference = readout_difference(magnitude, phase, times, mask=mask)
        phase = without_offset(phase, np.float32(0), difference)
    offset = np.zeros(mask.shape, np.float32)
    if times.size > 1:
        support = signal_support(magnitude) | mask
        offset = estimate_offset(
            magnitude, phase, times, support=support, mask=mask, voxel_size=voxel_size
        ).offset
    return OffsetCorrection(without_offset(phase, offset), offset, difference)


def check_echoes(
    magnitude: FloatArray, phase: FloatArray, echo_times: Sequence[float] | NDArray, mask: BoolArray
) -> NDArray[np.float64]:
    """Check that a multi-echo acquisition fits together.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        The images.
    echo_times : (echo,)
        s.
    mask : ndarray (x, y, z)
        Region of interest.

    Returns
    -------
    ndarray (echo,)
        Echo times in s as double precision.

    Raises
    ------
    ValueError
        Naming what does not fit.
    """
    times = np.asarray(echo_times, dtype=np.float64)
    if magnitude.ndim != 4 or magnitude.shape != phase.shape:
        raise ValueError(
            f"magnitude {magnitude.shape} and phase {phase.shape} must have one shape (x, y, z, echo)"
        )
    if times.shape != magnitude.shape[3:]:
        raise ValueError(f"{magnitude.shape[3]} echoes need as many echo times, not {times.size}")
    if not (np.isfinite(times).all() and times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError(f"echo times must be positive and ascending, in s, not {times.tolist()}")
    if times[-1] > 1:
        raise ValueError(f"echo times {times.tolist()} are longer than 1 s: they must be given in s, not ms")
    if mask.shape != magnitude.shape[:3]:
        raise ValueError(f"the mask {mask.shape} does not have the images' shape {magnitude.shape[:3]}")
    if not mask.any():
        raise ValueError("the mask is empty")
    for name, image in (("magnitude", magnitude), ("phase", phase)):
        # the extremes are finite only if all values are
        if not (np.isfinite(image.min()) and np.isfinite(image.max())):
            raise ValueError(f"the {name} contains NaN or infinite values")
    if not any(magnitude[..., echo][mask].any() for echo in range(times.size)):
        raise ValueError("the magnitude is zero everywhere inside the mask")
    return times


def signal_support(magnitude: FloatArray) -> BoolArray:
    """Voxels, inside the mask or not, whose first echo stands clear of the noise.

    Parameters
    ----------
    magnitude : ndarray (x, y, z, echo)
        Magnitude.

    Returns
    -------
    ndarray (x, y, z), bool
        First echo above a twentieth of its 98th percentile.
    """
    first = magnitude[..., 0]
    return np.asarray(first > 0.05 * np.quantile(first[::2, ::2, ::2], 0.98))


def estimate_offset(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: NDArray[np.float64],
    *,
    support: BoolArray,
    mask: BoolArray,
    voxel_size: Sequence[float],
) -> SmoothOffset:
    """Estimate the smooth phase at TE = 0 of data with two echoes or more.

    A cycle of the frequency, 1/dTE Hz, moves the offset by 2 pi TE1/dTE, so neighbours can only be averaged
    once they lie on the same cycle: the frequency of a free fit is unwrapped in space first.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Magnitude, and phase in rad without a readout difference.
    echo_times : ndarray (echo,)
        s.
    support : ndarray (x, y, z)
        Voxels with signal.
    mask : ndarray (x, y, z)
        Part of the support from which noise and spread are estimated.
    voxel_size
        mm.

    Returns
    -------
    SmoothOffset
    """
    by_voxel = _by_voxel(magnitude), _by_voxel(phase)
    selected = support.reshape(-1)
    fit = fit_echoes(*by_voxel, echo_times, selected)
    if echo_times.size > 2:
        level = noise_from_misfit(fit.misfit[mask.reshape(-1)], echo_times.size - 2)
    else:
        level = noise_from_texture(magnitude, phase, mask)
    level = max(level, SMALLEST_NOISE * float(magnitude.max()))
    cycle = np.float32(2 * np.pi * smallest_spacing(echo_times))
    sw, swt, swtt = np.moveaxis(fit.information, 1, 0)
    guide = np.sqrt(np.maximum(swtt - swt**2 / np.maximum(sw, 1e-30), 0)).reshape(support.shape)
    wrapped = wrap_phase(fit.frequency * cycle).reshape(support.shape)
    frequency = unwrap_romeo(wrapped, mask=support, magnitude=guide) / cycle
    difference = largest_difference(frequency, support)
    voxelwise, precision = (
        image.reshape(support.shape)
        for image in fit_offset(
            *by_voxel, echo_times, frequency.reshape(-1), difference.reshape(-1), selected, level
        )
    )
    offset = smooth_phase(voxelwise, precision, voxel_size=voxel_size, outlier=0.3)
    deviation = wrap_phase((voxelwise - offset)[mask])
    if echo_times.size == 2:
        level = max(level, _noise_from_deviation(deviation, magnitude[mask], echo_times))
    return SmoothOffset(offset, _spread(deviation, precision[mask]), frequency, level)


def _noise_from_deviation(
    deviation: FloatArray, magnitude: FloatArray, echo_times: NDArray[np.float64]
) -> float:
    """Noise level from offsets of two echoes about the smooth one: interpolated images do not lower it."""
    first, second = echo_times
    size = np.maximum(magnitude, 1e-3 * magnitude.max())
    variance = (second**2 / size[:, 0] ** 2 + first**2 / size[:, 1] ** 2) / (second - first) ** 2
    return noise_from_misfit((deviation**2 / variance).astype(np.float32), 1)


def _spread(deviation: FloatArray, precision: FloatArray) -> float:
    """SD of the voxels' offsets about the smooth one beyond their own error, from the better half of them."""
    good = precision >= np.median(precision)
    typical = float(np.median(deviation[good] ** 2)) / 0.455  # the median of chi squared
    return float(np.sqrt(max(typical - float(np.median(1 / precision[good])), SMALLEST_SPREAD**2)))


def _by_voxel(image: FloatArray) -> FloatArray:
    return np.ascontiguousarray(image, dtype=np.float32).reshape(-1, image.shape[-1])


def without_offset(
    phase: FloatArray, offset: FloatArray | np.float32, difference: FloatArray | None = None
) -> FloatArray:
    """Phase of all echoes without a known offset and readout difference.

    Parameters
    ----------
    phase : ndarray (x, y, z, echo)
        rad.
    offset : ndarray (x, y, z) or 0
        Phase at TE = 0 in rad.
    difference : ndarray (x, y, z), optional
        First readout polarity less second, in rad; the echoes alternate between them.

    Returns
    -------
    ndarray (x, y, z, echo)
        rad, in [-pi, pi).
    """
    removed = np.broadcast_to(np.asarray(offset, dtype=np.float32)[..., None], phase.shape)
    if difference is not None:
        signs = np.where(np.arange(phase.shape[-1]) % 2 == 0, 0.5, -0.5).astype(np.float32)
        removed = removed + difference[..., None] * signs
    return wrap_phase(phase - removed)


def readout_difference(
    magnitude: FloatArray, phase: FloatArray, echo_times: NDArray[np.float64], *, mask: BoolArray
) -> FloatArray:
    """Phase between the two readout polarities: a constant and a slope in space.

    Three consecutive echoes give twice the difference, modulo 2 pi: interpolate the outer two, which share
    a polarity, to the middle one. Timing errors of the readout gradient make it linear in space (Li 2015),
    so a plane is fitted to these phasors, robustly.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        At least three echoes; phase in rad.
    echo_times : ndarray (echo,)
        s.
    mask : ndarray (x, y, z)
        Voxels to use.

    Returns
    -------
    ndarray (x, y, z)
        First polarity less second, in rad. Half a cycle of it cannot be told from a uniform frequency
        of 1/(2 dTE) Hz: the constant is the smallest of these.

    References
    ----------
    Li J, Chang S, Liu T, et al. Magn Reson Med 74:1372-1379 (2015).
    """
    phasor = np.zeros(mask.shape, np.complex64)
    _double_difference(
        mask.size, _by_voxel(magnitude), _by_voxel(phase), echo_times, mask.reshape(-1), phasor.reshape(-1)
    )
    slope, constant = fit_phase_plane(phasor)
    grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in mask.shape), indexing="ij", sparse=True)
    plane = sum((s * g for s, g in zip(slope, grid, strict=True)), start=np.float32(constant))
    return np.asarray(np.broadcast_to(plane / 2, mask.shape), dtype=np.float32)


def fit_phase_plane(phasor: NDArray[np.complex64]) -> tuple[NDArray[np.float64], float]:
    """Fit a phase that is linear in space, robustly.

    Parameters
    ----------
    phasor : ndarray (x, y, z), complex
        Its angle is the phase, its size the weight; 0 where unknown.

    Returns
    -------
    slope : ndarray (3,)
        rad a voxel.
    constant : float
        rad at voxel (0, 0, 0), such that it is in +-pi at the centre of the voxels.
    """
    slope = np.zeros(3)
    for axis in range(3):
        ahead = np.moveaxis(phasor, axis, 0)
        slope[axis] = np.angle(np.vdot(ahead[:-1], ahead[1:])) if ahead.shape[0] > 1 else 0.0
    weights = np.abs(phasor)
    voxels = np.flatnonzero(weights)
    voxels = voxels[:: max(1, voxels.size // 200_000)]
    position = np.stack(np.unravel_index(voxels, phasor.shape), axis=1).astype(np.float64)
    centre = position.mean(axis=0)
    design = np.column_stack([position - centre, np.ones(voxels.size)])
    angle = np.angle(phasor.reshape(-1)[voxels]).astype(np.float64)
    weight = weights.reshape(-1)[voxels].astype(np.float64)
    demodulated = np.exp(1j * (angle - design[:, :3] @ slope))
    plane = np.append(slope, np.angle(np.sum(weight * demodulated)))
    for _ in range(20):
        residual = np.angle(np.exp(1j * (angle - design @ plane)))
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-4)
        robust = weight / (1 + (residual / (2.4 * scale)) ** 2)
        normal = design.T @ (robust[:, None] * design)
        step = np.linalg.lstsq(normal, design.T @ (robust * residual), rcond=None)[0]
        plane += step
        if np.abs(design @ step).max() < 1e-6:
            break
    constant = float(np.angle(np.exp(1j * plane[3])))
    return plane[:3], constant - float(plane[:3] @ centre)


@threaded()
def _double_difference(
    first: int,
    last: int,
    magnitude: FloatArray,
    phase: FloatArray,
    times: NDArray,
    mask: BoolArray,
    out: NDArray[np.complex64],
) -> None:
    """Weighted mean over triples of echoes of the phasor of twice the readout difference."""
    for v in range(first, last):
        if not mask[v]:
            continue
        real = 0.0
        imaginary = 0.0
        for e in range(1, times.size - 1):
            m0 = np.float64(magnitude[v, e - 1])
            m1 = np.float64(magnitude[v, e])
            m2 = np.float64(magnitude[v, e + 1])
            product = m0 * m1 * m2
            if product <= 0:
                continue
            share = (times[e] - times[e - 1]) / (times[e + 1] - times[e - 1])
            outer = np.float64(phase[v, e + 1]) - phase[v, e - 1]
            outer -= 2 * np.pi * np.rint(outer / (2 * np.pi))
            angle = 2 * (phase[v, e - 1] + share * outer - phase[v, e])
            weight = 1 / (1 / (m0 * m0) + 4 / (m1 * m1) + 1 / (m2 * m2))
            real += weight * np.cos(angle)
            imaginary += weight * np.sin(angle) * (1 if e % 2 == 1 else -1)
        out[v] = complex(real, imaginary)
