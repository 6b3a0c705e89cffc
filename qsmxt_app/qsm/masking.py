"""Where susceptibility is reconstructed: masks from the data, without an anatomical prior.

Two masks serve the two passes of Stewart et al. 2022: `reliable` leaves out what the data cannot show, strong
sources among it; `filled` closes those holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.brain_mask import beside_brain, find_brain
from qsmxt_app.qsm.magnitude import combine_magnitude, smooth_level
from qsmxt_app.qsm.morphology import (
    bounding_box,
    close_gaps,
    dilate,
    erode,
    fill_holes,
    fill_holes_in_slices,
    keep_components,
)
from qsmxt_app.qsm.phase_quality import phase_quality
from qsmxt_app.qsm.thresholds import gaussian_threshold, otsu_threshold, percentile_threshold

Source = Literal["magnitude", "phase-quality", "combined"]
Threshold = Literal["otsu", "gaussian", "fixed", "percentile"]

HIGHEST_SHARE = 0.5
"""No automatic threshold lies above this share of what it selects (its median), or it would divide tissue."""


@dataclass(frozen=True)
class MaskOptions:
    """How a mask is made.

    Parameters
    ----------
    source
        What is thresholded: `magnitude` (all echoes combined), `phase-quality` (ROMEO's weights), or
        `combined`, the geometric mean of phase quality and of the magnitude in units of its local level
        (at most 1).
    threshold
        `otsu`, `gaussian` (two Gaussians fitted to the histogram), `fixed` or `percentile`.
    value
        The threshold for `fixed`, in units of the score; the percentage for `percentile`.
    threshold_factor
        Multiplies a threshold that was found by `otsu` or `gaussian`; below 1 the mask is more generous.
    bias_correction
        Divide the magnitude by its local level, so that a coil profile does not decide; a magnitude score is
        then about 1 in tissue, otherwise it is in the units of the image. `combined` always does.
    components
        How many connected components are kept. In a head, a scalp apart from the brain may be the larger one,
        so 1 can lose the brain; a body has more.
    min_component_fraction
        Components smaller than this fraction of the largest are dropped.
    separation_mm
        Radius of the erosion that cuts the bridges between brain and scalp; 0 keeps all that hangs together.
    closing_mm
        Radius of the closing of the filled mask.
    max_hole_ml
        Largest hole that is filled, in millilitres.
    max_hole_cm2
        Largest hole that is filled in slices (a void that an air sinus opens to the outside), in cm^2.
    erosion_voxels, erosion_mm
        How much both masks are eroded from the outside, at the end.
    brain
        Look for the brain, and end the masks beside it unless they are given.
    """

    source: Source = "combined"
    threshold: Threshold = "otsu"
    value: float | None = None
    threshold_factor: float = 1.0
    bias_correction: bool = True
    components: int = 3
    min_component_fraction: float = 0.1
    separation_mm: float = 0.0
    closing_mm: float = 3.0
    max_hole_ml: float = 20.0
    max_hole_cm2: float = 4.0
    erosion_voxels: int = 0
    erosion_mm: float = 0.0
    brain: bool = False

    def __post_init__(self) -> None:
        if self.threshold in ("fixed", "percentile") and self.value is None:
            raise ValueError(f"a {self.threshold} mask threshold needs a value")
        if self.threshold in ("otsu", "gaussian") and self.value is not None:
            raise ValueError(
                f"the {self.threshold} mask threshold is found in the data; drop its value {self.value}"
            )
        if not self.threshold_factor > 0:
            raise ValueError(
                f"the factor of the mask threshold must be positive, not {self.threshold_factor}"
            )
        if self.components < 1:
            raise ValueError(f"a mask has at least 1 component, not {self.components}")
        for name in (
            "separation_mm",
            "closing_mm",
            "max_hole_ml",
            "max_hole_cm2",
            "erosion_voxels",
            "erosion_mm",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} of a mask must not be negative, not {getattr(self, name)}")


@dataclass(frozen=True)
class Masks:
    """Masks of the two passes.

    Parameters
    ----------
    reliable : ndarray (x, y, z), bool
        Voxels that the data show, inside `filled`: the first pass.
    filled : ndarray (x, y, z), bool
        The same with gaps closed and holes filled: the second pass, and where susceptibility is reported.
    threshold
        Threshold that was applied; NaN where none was.
    warnings
        What a person should know about the masks.
    brain, outline : ndarray (x, y, z), bool, or None
        The brain in `filled`, and the object with what lies around the brain, where it was looked for.
    """

    reliable: BoolArray
    filled: BoolArray
    threshold: float
    warnings: tuple[str, ...] = ()
    brain: BoolArray | None = None
    outline: BoolArray | None = None

    @property
    def hole_fraction(self) -> float:
        """Share of the filled mask that the first pass leaves out."""
        return 1.0 - float(np.count_nonzero(self.reliable)) / float(np.count_nonzero(self.filled))


def mask_score(
    magnitude: FloatArray | None,
    phase: FloatArray | None,
    echo_times: Sequence[float] | FloatArray,
    *,
    voxel_size: Sequence[float],
    options: MaskOptions = MaskOptions(),
) -> FloatArray:
    """The image whose threshold is the mask.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z) or (x, y, z, echo)
        Magnitude in any unit, phase in rad. One may be None where `options.source` does not use it.
    echo_times : (echo,)
        Echo times in s.
    voxel_size
        Voxel edges in mm.
    options
        How the mask is made.

    Returns
    -------
    ndarray (x, y, z)
        Score: higher is more signal.

    Raises
    ------
    ValueError
        If an image is missing or empty, or if shapes do not agree.
    """
    if magnitude is None:
        if options.source != "phase-quality" or phase is None:
            raise ValueError(
                f"a mask from {options.source} needs magnitude images; use the source phase-quality"
            )
        return phase_quality(np.ones_like(phase), phase, echo_times)
    combined = combine_magnitude(magnitude)
    if not combined.any():
        raise ValueError("the magnitude is zero everywhere: no mask can be made from it")
    if options.source == "magnitude":
        return combined / smooth_level(combined, voxel_size) if options.bias_correction else combined
    if phase is None:
        raise ValueError(f"a mask from {options.source} needs phase images; use the mask source magnitude")
    quality = phase_quality(magnitude, phase, echo_times)
    if options.source == "phase-quality":
        return quality
    combined /= smooth_level(combined, voxel_size)
    np.minimum(combined, 1, out=combined)
    combined *= quality
    return np.sqrt(combined, out=combined)


def find_threshold(score: FloatArray, options: MaskOptions) -> float:
    """Threshold of a score.

    Parameters
    ----------
    score : ndarray (x, y, z)
        Score of :func:`mask_score`.
    options
        How the mask is made.

    Returns
    -------
    float
        Threshold in units of the score.

    Raises
    ------
    ValueError
        If the score is the same everywhere, or a percentile is not one.
    """
    if options.value is not None:
        return options.value if options.threshold == "fixed" else percentile_threshold(score, options.value)
    # a few voxels of flowing blood or fat would stretch the histogram over empty bins
    values = np.minimum(score, np.percentile(score, 99.5))
    found = otsu_threshold(values) if options.threshold == "otsu" else gaussian_threshold(values)
    signal = values[values > found]
    if signal.size:
        found = min(found, HIGHEST_SHARE * float(np.median(signal)))
    return found * options.threshold_factor


def build_masks(
    magnitude: FloatArray | None,
    phase: FloatArray | None,
    echo_times: Sequence[float] | FloatArray,
    *,
    voxel_size: Sequence[float],
    options: MaskOptions = MaskOptions(),
    within: ArrayLike | None = None,
) -> Masks:
    """Masks of both passes from the data.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z) or (x, y, z, echo)
        Magnitude in any unit, phase in rad. One may be None where `options.source` does not use it.
    echo_times : (echo,)
        Echo times in s.
    voxel_size
        Voxel edges in mm.
    options
        How the mask is made.
    within : ndarray (x, y, z), any dtype
        A given mask (drawn, or of a brain extraction): it becomes `filled` as it is, but for the erosion, and
        the data decide only which of its voxels are reliable.

    Returns
    -------
    Masks
        The masks, the threshold and warnings.

    Raises
    ------
    ValueError
        If a mask is empty, or if images are missing or do not fit together.

    References
    ----------
    Stewart AW, Robinson SD, O'Brien K, et al. QSMxT: robust masking and artifact reduction for quantitative
    susceptibility mapping. Magn Reson Med 87:1289-1300 (2022).
    """
    score = mask_score(magnitude, phase, echo_times, voxel_size=voxel_size, options=options)
    threshold = find_threshold(score, options)
    signal = score >= threshold
    if not signal.any():
        raise ValueError(
            f"the mask is empty: the {options.source} score reaches {float(score.max()):.4g} at most, "
            f"the {options.threshold} threshold is {threshold:.4g}; "
            "lower the threshold, choose another mask source, or give a mask"
        )
    given = None if within is None else check_mask(within, score.shape)
    box = bounding_box(signal if given is None else given.filled)
    sizes = [float(size) for size in voxel_size]
    if given is None:
        reliable = _separate(signal[box], sizes, options)
        filled = _fill(reliable, sizes, options)
    else:
        reliable = signal[box]
        filled = given.filled[box]
    brain, outline = None, _place(filled, box, score.shape)
    if options.brain and magnitude is not None:
        brain = find_brain(combine_magnitude(magnitude)[box], filled, sizes)
        filled = filled if given else beside_brain(brain, filled, reliable, sizes)
    filled = _erode(filled, sizes, options)
    reliable = reliable & filled
    for name, mask in (("mask", filled), ("mask without its filled holes", reliable)):
        if not mask.any():
            raise ValueError(
                f"the {name} is empty after erosion: erode less, lower the threshold, or give a mask"
            )
    full = Masks(_place(reliable, box, score.shape), _place(filled, box, score.shape), threshold)
    if brain is not None:
        full = replace(full, brain=_place(brain & filled, box, score.shape), outline=outline)
    chosen = given is not None or options.threshold in ("fixed", "percentile")
    warnings = (() if given is None else given.warnings) + _remarks(full, sizes, chosen=chosen)
    return replace(full, warnings=warnings)


def check_mask(mask: ArrayLike, shape: Sequence[int]) -> Masks:
    """Accept a mask given by the user.

    Parameters
    ----------
    mask : ndarray (x, y, z), any dtype
        Mask, labels (above 0 is inside) or probabilities (above 0.5 is inside).
    shape
        Shape (x, y, z) of the images it belongs to.

    Returns
    -------
    Masks
        The mask in both roles, and warnings where it was not binary.

    Raises
    ------
    ValueError
        If the shape is another one, a value is not finite, or the mask is empty.
    """
    values = np.asarray(mask)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.shape != tuple(shape):
        raise ValueError(
            f"the mask has shape {values.shape}, the images have {tuple(shape)}: resample the mask"
        )
    if values.dtype == bool:
        inside, binary = values.copy(), True
    else:
        if not np.isfinite(values).all():
            raise ValueError(
                "the mask holds values that are not finite: write it with 0 outside and 1 inside"
            )
        inside = values > (0.5 if values.max() <= 1 else 0)
        binary = bool(np.array_equal(values, np.where(inside, values.max(), 0)))
    if not inside.any():
        raise ValueError("the mask is empty: no value lies above 0")
    remark = "the given mask is not binary: labels above 0, or probabilities above 0.5, are inside"
    return Masks(inside, inside, float("nan"), () if binary else (remark,))


def _place(mask: BoolArray, box: tuple[slice, ...], shape: tuple[int, ...]) -> BoolArray:
    full = np.zeros(shape, bool)
    full[box] = mask
    return full


def _separate(signal: BoolArray, voxel_size: Sequence[float], options: MaskOptions) -> BoolArray:
    def largest(mask: BoolArray) -> BoolArray:
        return keep_components(mask, count=options.components, min_fraction=options.min_component_fraction)

    if options.separation_mm == 0:
        return largest(signal)
    # small holes are filled first, or each would be eroded to a large one
    solid = fill_holes(signal, options.max_hole_ml * 1000 / float(np.prod(voxel_size)))
    core = largest(erode(solid, options.separation_mm, voxel_size))
    if not core.any():
        return largest(signal)
    return largest(signal & dilate(core, options.separation_mm + 2.0, voxel_size))


def _fill(reliable: BoolArray, voxel_size: Sequence[float], options: MaskOptions) -> BoolArray:
    volume = float(np.prod(voxel_size))
    pixels = [options.max_hole_cm2 * 100 * size / volume for size in voxel_size]
    filled = close_gaps(reliable, options.closing_mm, voxel_size)
    if options.max_hole_cm2 > 0:
        filled = fill_holes_in_slices(filled, pixels)
    return fill_holes(filled, options.max_hole_ml * 1000 / volume)


def _erode(mask: BoolArray, voxel_size: Sequence[float], options: MaskOptions) -> BoolArray:
    eroded = erode(mask, options.erosion_mm, voxel_size)
    if options.erosion_voxels:
        eroded = ndimage.binary_erosion(eroded, iterations=options.erosion_voxels, border_value=1)
    return np.asarray(eroded, dtype=bool)


def _remarks(masks: Masks, voxel_size: Sequence[float], *, chosen: bool) -> tuple[str, ...]:
    remarks = []
    share = float(masks.filled.mean())
    # a crop inside the head has no background, and the data say so; somebody's choice may be wrong
    if chosen and share > 0.9:
        remarks.append(f"the mask covers {share:.0%} of the volume: is there any background in the image?")
    millilitres = float(np.count_nonzero(masks.filled)) * float(np.prod(voxel_size)) / 1000
    if share < 0.02:
        remarks.append(f"the mask covers only {share:.1%} of the volume ({millilitres:.1f} ml)")
    if masks.hole_fraction > 0.3:
        remarks.append(
            f"{masks.hole_fraction:.0%} of the mask are filled holes: the threshold may be too high"
        )
    return tuple(remarks)
