"""The brain in a T1w image: where it is, and a mask of it, without a network.

The atlas's head is laid upon the image by what is inside the brain alone, so that skull and neck do not
count; then it is bent until its surface meets the image's. An image without a skull is
recognised by the nothing around its brain.

References
----------
Avants BB, et al. NeuroImage 54:2033-2044 (2011): brain extraction by registration of a template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.arrays import BoolArray
from qsmxt_app.errors import UnusableData
from qsmxt_app.qsm.morphology import dilate, erode, fill_holes, keep_components
from qsmxt_app.registration import Grid, Image, Transform, apply, crop
from qsmxt_app.registration.greedy import Deformation, Pair, deform
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.head_position import coarser, find_head, similarity_within

_BRAIN_HEIGHT_MM = 75.0
"""From the top of the head to the middle of the brain."""
_SLAB_MM = 130.0
_RIM_MM = (4.0, 12.0)
_NOTHING = 0.9
"""Share of the rim around the brain that is empty in an image without a skull."""
_WORKING_MM = 2.0
_LIKENESS_MM = 4.0
_LEAST_SIMILARITY = 1.02
"""Normalised mutual information with the atlas below which an image shows no head."""
_LEAST_ML, _MOST_ML = 500.0, 2500.0
_TO_THE_SURFACE = Deformation(iterations=(60, 40), shrink=(2, 1), radius=2)


@dataclass(frozen=True)
class FoundBrain:
    """A brain in a T1w image.

    Attributes
    ----------
    mask : ndarray of bool
        On the image's grid.
    from_atlas : Transform
        Affine, from the atlas to the image.
    had_skull
        Whether there was more than the brain in the image.
    """

    mask: BoolArray
    from_atlas: Transform
    had_skull: bool


def extract_brain(t1w: Image, atlas: Atlas) -> FoundBrain:
    """Find the brain in a T1w image, with or without a skull, in whatever position.

    Raises
    ------
    UnusableData
        The image is empty, not finite, or shows nothing like the atlas's head.
    """
    array = np.asarray(t1w.array, dtype=np.float32)
    if array.ndim != 3 or not np.isfinite(array).all() or array.max() <= array.min():
        raise UnusableData("The T1w image holds one value alone, or values that are not finite.")
    head = t1w.with_array(array - array.min())
    model = crop(atlas.t1w, atlas.brain, 6.0)
    brain = dilate(model.array > 0, 2.0, model.voxel_size)
    to_atlas = find_head(model, brain, head, _middle(head), affine=True)
    small = coarser(model, _LIKENESS_MM)
    likeness = similarity_within(small, coarser(head, _LIKENESS_MM), to_atlas, small.array > 0)
    if likeness < _LEAST_SIMILARITY:
        raise UnusableData(
            f"No brain was found in the T1w image (likeness to the atlas {likeness:.3f}, where 1 is none).",
            "Is it a T1-weighted image of a head?",
        )
    from_atlas = to_atlas.inverse()
    expected = _mask_on(t1w.grid, model, from_atlas)
    if _is_bare(head.array, expected, t1w.voxel_size):
        mask = fill_holes(keep_components(head.array > 0))
        return FoundBrain(_checked(mask, t1w), from_atlas, had_skull=False)
    mask = _mask_on(t1w.grid, model, _bent(head, expected, model, from_atlas))
    return FoundBrain(_checked(fill_holes(keep_components(mask)), t1w), from_atlas, had_skull=True)


def _middle(head: Image) -> NDArray:
    """Guess of the brain's middle: below the top of what is bright, along the world's z."""
    small = coarser(head, 4.0)
    bright = small.array > 0.15 * np.percentile(small.array, 98)
    points = np.argwhere(keep_components(bright)) @ small.affine[:3, :3].T + small.affine[:3, 3]
    if len(points) == 0:
        return np.asarray((head.affine @ [*(np.array(head.array.shape) / 2), 1])[:3])
    top = np.percentile(points[:, 2], 99.5)
    upper = points[points[:, 2] > top - _SLAB_MM]
    return np.array([*upper[:, :2].mean(0), top - min(_BRAIN_HEIGHT_MM, (top - points[:, 2].min()) / 2)])


def _mask_on(grid: Grid, model: Image, from_atlas: Transform) -> BoolArray:
    return np.asarray(
        apply(model.with_array((model.array > 0).astype(np.float32)), grid, from_atlas).array > 0.5
    )


def _is_bare(head: NDArray, expected: BoolArray, voxel_size: tuple[float, float, float]) -> bool:
    near, far = (dilate(expected, radius, voxel_size) for radius in _RIM_MM)
    rim = far & ~near
    return bool(rim.any() and (head[rim] == 0).mean() > _NOTHING)


def _bent(head: Image, expected: BoolArray, model: Image, from_atlas: Transform) -> Transform:
    """Bend the atlas's surface onto the head's brain, at the working resolution."""
    cut = crop(head, expected, 16.0)
    small = coarser(cut, _WORKING_MM)
    around = apply(head.with_array(expected.astype(np.float32)), small.grid).array > 0.5
    where = dilate(around, 8.0, small.voxel_size) & ~erode(around, 25.0, small.voxel_size)
    ceiling = np.percentile(small.array[around], 99)
    calm = small.with_array(np.minimum(small.array, ceiling))
    pair = Pair(calm, model.with_array(gaussian_filter(model.array, 0.6)), where=where)
    return deform([pair], small.grid, from_atlas, _TO_THE_SURFACE)


def _checked(mask: BoolArray, t1w: Image) -> BoolArray:
    volume = float(mask.sum() * np.prod(t1w.voxel_size) / 1000)
    if not _LEAST_ML < volume < _MOST_ML:
        raise UnusableData(
            f"The brain found in the T1w image has {volume:.0f} ml, which no adult's has.",
            "Does the image show the whole head?",
        )
    return mask
