"""A T1w image made ready for labelling: brain found, shading removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray
from qsmxt_app.qsm.morphology import bounding_box, dilate, erode, fill_holes, keep_components
from qsmxt_app.registration import Grid, Image, Transform, apply
from qsmxt_app.registration.resample import coarser, without_shear
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.brain import extract_brain
from qsmxt_app.segment.shading import estimate_shading

_SHADING_MM = 4.0
_LEAST_SHADING = 0.05
_LOW_CONTRAST = 1.25
_CORE_MM, _BRIDGE_MM, _FLUID_MM = 12.0, 2.0, 3.0
"""Depth of what is brain for certain, half the width of what is cut through, and depth of fluid around it."""
_DARK = 0.45
"""Share of the core's median brightness below which there is fluid, bone or air."""


@dataclass(frozen=True)
class PreparedT1w:
    """A T1w image ready for labelling.

    Attributes
    ----------
    t1w : Image
        The whole image free of shading, float32; on a grid of its own where the image's axes had a shear.
    brain : ndarray of bool
        Brain mask on its grid.
    from_atlas : Transform
        Affine, from the atlas that found the brain to this image.
    had_skull
        Whether the image was not skull-stripped.
    warnings
        Warnings for the report, a sentence each.
    """

    t1w: Image
    brain: BoolArray
    from_atlas: Transform
    had_skull: bool
    warnings: tuple[str, ...] = ()

    @property
    def stripped(self) -> Image:
        """The brain alone: 0 outside."""
        return self.t1w.with_array(np.where(self.brain, self.t1w.array, np.float32(0)))


def prepare_t1w(t1w: Image, atlas: Atlas) -> PreparedT1w:
    """Find the brain and remove the shading.

    Parameters
    ----------
    t1w : Image
        Any resolution, position and orientation, with or without a skull.
    atlas : Atlas

    Raises
    ------
    UnusableData
        There is no brain in the image.
    """
    upright = without_shear(t1w)
    found = extract_brain(upright, atlas)
    corrected = correct_bias(upright, found.mask)
    brain = remove_non_brain(corrected, found.mask) if found.had_skull else found.mask
    warnings = []
    if upright is not t1w:
        warnings.append(
            "The axes of the T1w image are not at right angles: it was resampled to such that are."
        )
    contrast = _contrast(corrected, brain)
    if contrast < _LOW_CONTRAST:
        warnings.append(
            f"The T1w image has little contrast (bright tissue is {contrast:.2f} times as bright as grey "
            "tissue): borders of the labels follow the atlas more than the image."
        )
    coarsest = max(t1w.voxel_size)
    if coarsest > 2.0:
        warnings.append(
            f"The T1w image has voxels of {coarsest:.1f} mm: small nuclei cannot be distinguished at this "
            "resolution."
        )
    return PreparedT1w(corrected, brain, found.from_atlas, found.had_skull, tuple(warnings))


def remove_non_brain(t1w: Image, mask: BoolArray) -> BoolArray:
    """Remove from a brain mask what bone or fluid separates from the brain: eyes, scalp, marrow.

    Parameters
    ----------
    t1w : Image
        Free of shading.
    mask : ndarray of bool
        The brain, and maybe more.

    Returns
    -------
    ndarray of bool
        The part of the mask within some millimetres of bright tissue that is connected to the brain.
    """
    size, box = t1w.voxel_size, bounding_box(mask)
    head, inside = t1w.array[box], mask[box]
    core = erode(inside, _CORE_MM, size)
    if not core.any():
        return mask
    bright = inside & (head > _DARK * np.median(head[core]))
    tissue = keep_components(erode(bright, _BRIDGE_MM, size))
    brain = np.zeros_like(mask)
    brain[box] = fill_holes(dilate(tissue, _BRIDGE_MM + _FLUID_MM, size) & inside)
    return brain


def correct_bias(t1w: Image, mask: BoolArray) -> Image:
    """Remove shading.

    Parameters
    ----------
    t1w : Image
    mask : ndarray of bool
        The brain, which the shading is estimated from.

    Returns
    -------
    Image
        float32, of the same mean brightness in the mask.
    """
    array = np.asarray(t1w.array, dtype=np.float32)
    positive = array - min(0.0, float(array.min()))
    small = coarser(t1w.with_array(positive), _SHADING_MM)
    inside = apply(t1w.with_array(mask.astype(np.float32)), small.grid).array > 0.5
    shading = estimate_shading(small, inside)
    corrected = positive / np.maximum(_continued(shading, t1w.grid), _LEAST_SHADING)
    level = float(positive[mask].mean()) / max(float(corrected[mask].mean()), 1e-12)
    return t1w.with_array(np.asarray(corrected * np.float32(level), dtype=np.float32))


def _continued(shading: Image, grid: Grid) -> NDArray[np.float32]:
    """Shading at a finer grid's voxels; beyond the outermost coarse voxels it goes on as there."""
    affine = np.array(shading.affine, dtype=np.float64)
    affine[:3, 3] -= affine[:3, :3].sum(1)
    return np.asarray(apply(Image(np.pad(shading.array, 1, mode="edge"), affine), grid).array)


def _contrast(t1w: Image, mask: BoolArray) -> float:
    low, high = np.percentile(t1w.array[mask], [30, 80])
    return float(high / max(low, 1e-12))
