"""Susceptibility-weighted images and their minimum-intensity projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.magnitude import smooth_level
from qsmxt_app.qsm.smoothing import smooth


@dataclass(frozen=True)
class SusceptibilityWeighted:
    """A susceptibility-weighted image and what it is made of.

    Parameters
    ----------
    swi : ndarray (x, y, z)
        Magnitude times phase weight.
    magnitude : ndarray (x, y, z)
        Combined magnitude without its coil profile, about 1 in tissue.
    phase_weight : ndarray (x, y, z)
        Weight from 0 to 1, 1 where the field is not above its surroundings.
    echo_time
        Echo time in s that the combination of echoes amounts to.
    """

    swi: FloatArray
    magnitude: FloatArray
    phase_weight: FloatArray
    echo_time: float


def highpass_field(
    field: FloatArray, mask: BoolArray, *, voxel_size: Sequence[float], width_mm: float
) -> FloatArray:
    """Field without its slow variation.

    Parameters
    ----------
    field : ndarray (x, y, z)
        Field without wraps, in any unit.
    mask : ndarray (x, y, z), bool
        Where the field is known; what lies outside does not enter.
    voxel_size
        Voxel edges in mm.
    width_mm
        Standard deviation of the Gaussian in mm.

    Returns
    -------
    ndarray (x, y, z)
        Field minus its Gaussian mean within the mask, twice; 0 outside.
    """
    sigma = [width_mm / size for size in voxel_size]
    weight = smooth(mask.astype(np.float32), sigma)
    fast = np.where(mask, field, 0).astype(np.float32)
    # a mean over half a neighbourhood leaves a ramp at the rim of the mask; filtering twice takes it off
    for _ in range(2):
        slow = smooth(fast, sigma)
        fast = np.where(mask, fast - slow / np.maximum(weight, 1e-6), 0).astype(np.float32)
    return fast


def combine_contrast(
    magnitude: FloatArray, echo_times: Sequence[float] | FloatArray, mask: BoolArray
) -> tuple[FloatArray, float]:
    """Weighted sum of echoes with the best contrast-to-noise of a small change of R2* or field.

    The change of a signal ``m exp(-TE R2*)`` with R2* or with the field grows as ``TE m``, so each echo is
    weighted by its echo time times its mean in the mask.

    Parameters
    ----------
    magnitude : ndarray (x, y, z) or (x, y, z, echo)
        Magnitude in any unit.
    echo_times : (echo,)
        Echo times in s.
    mask : ndarray (x, y, z), bool
        Tissue.

    Returns
    -------
    magnitude : ndarray (x, y, z)
        Combined magnitude in the unit of the input.
    echo_time : float
        Weighted mean of the echo times in s.

    Raises
    ------
    ValueError
        If the echo times do not fit the images, or the mask is empty.
    """
    times = np.atleast_1d(np.asarray(echo_times, dtype=float))
    stack = magnitude[..., None] if magnitude.ndim == 3 else magnitude
    if stack.shape[-1] != times.size or stack.shape[:3] != mask.shape:
        raise ValueError(
            f"magnitude {magnitude.shape}, {times.size} echo times and mask {mask.shape} do not fit together"
        )
    if not mask.any():
        raise ValueError("the mask of the susceptibility-weighted image is empty")
    weights = times * stack[mask].mean(axis=0, dtype=np.float64)
    if not weights.sum() > 0:
        raise ValueError(
            "the magnitude is zero in the whole mask: no susceptibility-weighted image can be made"
        )
    weights /= weights.sum()
    combined = np.einsum("xyze,e->xyz", stack, weights.astype(np.float32))
    return combined, float((weights * times).sum())


def swi(
    magnitude: FloatArray,
    field: FloatArray,
    echo_times: Sequence[float] | FloatArray,
    *,
    mask: BoolArray,
    voxel_size: Sequence[float],
    highpass_mm: float = 4.0,
    phase_scale: float = np.pi / 4,
    strength: float = 4.0,
) -> SusceptibilityWeighted:
    """Susceptibility-weighted image: magnitude times a sigmoid of the high-pass filtered field phase.

    As in CLEAR-SWI, the phase comes from the field of all echoes and not from a filtered wrapped phase, so
    that no wrap leaves an edge; the echoes are combined for contrast; the coil profile is divided out; and
    the weight follows a sigmoid. A paramagnetic vein along B0 has a field above its surroundings and becomes
    dark.

    Parameters
    ----------
    magnitude : ndarray (x, y, z) or (x, y, z, echo)
        Magnitude in any unit.
    field : ndarray (x, y, z)
        Total or local field in Hz, without wraps.
    echo_times : (echo,)
        Echo times in s.
    mask : ndarray (x, y, z), bool
        Where the field is known.
    voxel_size
        Voxel edges in mm.
    highpass_mm
        Standard deviation of the Gaussian that is subtracted from the field, in mm.
    phase_scale
        Phase in rad at which the sigmoid has fallen to a half of its value at no phase.
    strength
        Power of the weight (how many times it is applied).

    Returns
    -------
    SusceptibilityWeighted
        The image and its parts; outside the mask the weight is 1.

    Raises
    ------
    ValueError
        If shapes do not fit, the mask is empty, or a parameter is not positive.

    References
    ----------
    Eckstein K, Bachrata B, Hangel G, et al. Improved susceptibility weighted imaging at ultra-high field
    using bipolar multi-echo acquisition and optimized image processing: CLEAR-SWI. NeuroImage 237:118175
    (2021). Haacke EM, Xu Y, Cheng YN, Reichenbach JR. Susceptibility weighted imaging (SWI). Magn Reson Med
    52:612-618 (2004).
    """
    if field.shape != mask.shape:
        raise ValueError(f"the field has shape {field.shape}, its mask {mask.shape}")
    if not (highpass_mm > 0 and phase_scale > 0 and strength > 0):
        raise ValueError(
            "the width of the high-pass filter, the phase scale and the strength must be positive"
        )
    combined, echo_time = combine_contrast(magnitude, echo_times, mask)
    flat = combined / smooth_level(combined, voxel_size)
    phase = 2 * np.pi * echo_time * highpass_field(field, mask, voxel_size=voxel_size, width_mm=highpass_mm)
    weight = _phase_weight(phase.astype(np.float32), phase_scale) ** np.float32(strength)
    return SusceptibilityWeighted(flat * weight, flat, weight, echo_time)


def _phase_weight(phase: FloatArray, scale: float) -> FloatArray:
    # a logistic curve through 1 at no phase and 1/2 at `scale`; what exceeds 1 is cut: only dark is meant
    steepness = np.log(2.0) / scale
    curve = 1.5 / (1 + 0.5 * np.exp(np.clip(phase * (2 * steepness), -50, 50)))
    return np.asarray(np.minimum(curve, 1), dtype=np.float32)


def minimum_intensity_projection(
    image: FloatArray, *, voxel_size: Sequence[float], thickness_mm: float = 14.0, axis: int = 2
) -> FloatArray:
    """Minimum over a slab that slides along an axis: veins that run through slices appear in one.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Susceptibility-weighted image.
    voxel_size
        Voxel edges in mm.
    thickness_mm
        Thickness of the slab in mm, rounded to whole slices, at least one.
    axis
        Axis of projection, 2 for z.

    Returns
    -------
    ndarray (x, y, z)
        Projection, a slab centred on each slice; at the ends the slab is cut.

    Raises
    ------
    ValueError
        If the thickness is not positive.
    """
    if not thickness_mm > 0:
        raise ValueError(f"the thickness of the projection must be positive, not {thickness_mm} mm")
    slices = max(1, round(thickness_mm / voxel_size[axis]))
    return np.asarray(ndimage.minimum_filter1d(image, slices, axis=axis, mode="nearest"), dtype=np.float32)
