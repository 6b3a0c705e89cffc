"""Brain extraction from a T1w image by registration of an atlas.

The atlas is registered affinely by the inside of the brain alone, so that skull and neck do not count, and
then deformably by its surface. A skull-stripped image is recognised by the zeros around its brain.

References
----------
Avants BB, et al. NeuroImage 54:2033-2044 (2011): brain extraction by registration of a template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray
from qsmxt_app.errors import UnusableData
from qsmxt_app.qsm.morphology import bounding_box, dilate, erode, fill_holes, keep_components
from qsmxt_app.qsm.smoothing import smooth
from qsmxt_app.registration import Grid, Image, Transform, apply, crop
from qsmxt_app.registration.greedy import Deformation, Pair, deform
from qsmxt_app.registration.image import bounding_box as around
from qsmxt_app.registration.label_resampling import reached_box
from qsmxt_app.registration.resample import coarser
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.head_position import find_head, similarity_within

_BRAIN_HEIGHT_MM = 75.0
"""From the top of the head to the middle of the brain."""
_SLAB_MM = 130.0
_RIM_MM = (4.0, 12.0)
_NOTHING = 0.9
"""Fraction of the rim around the brain that is 0 in a skull-stripped image."""
_WORKING_MM = 2.0
_SIMILARITY_MM = 4.0
_LEAST_SIMILARITY = 1.02
"""Normalised mutual information with the atlas below which an image does not show a head."""
_LEAST_ML, _MOST_ML = 500.0, 2500.0
_SURFACE_DEFORMATION = Deformation(iterations=(60, 40), shrink=(2, 1), radius=2)


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
        Whether the image was not skull-stripped.
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
        raise UnusableData("The T1w image is constant or contains values that are not finite.")
    head = t1w.with_array(array - array.min())
    model = crop(atlas.t1w, atlas.brain, 6.0)
    brain = dilate(model.array > 0, 2.0, model.voxel_size)
    to_atlas = find_head(model, brain, head, _middle(head), affine=True)
    small = coarser(model, _SIMILARITY_MM)
    similarity = similarity_within(small, coarser(head, _SIMILARITY_MM), to_atlas, small.array > 0)
    if similarity < _LEAST_SIMILARITY:
        raise UnusableData(
            f"No brain was found in the T1w image (similarity to the atlas {similarity:.3f}; 1 means none).",
            "Is it a T1-weighted image of a head?",
        )
    from_atlas = to_atlas.inverse()
    expected = _mask_on(t1w.grid, model, from_atlas)
    if _is_skull_stripped(head.array, expected, t1w.voxel_size):
        return FoundBrain(_checked(head.array > 0, t1w), from_atlas, had_skull=False)
    mask = _mask_on(t1w.grid, model, _warp_to_surface(head, expected, model, from_atlas))
    return FoundBrain(_checked(mask, t1w), from_atlas, had_skull=True)


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
    mask = np.zeros(grid.shape, dtype=bool)
    inside = model.with_array((model.array > 0).astype(np.float32))
    box = reached_box(inside, grid, from_atlas)
    mask[box] = apply(inside, grid.part(box), from_atlas).array > 0.5
    return mask


def _is_skull_stripped(head: NDArray, expected: BoolArray, voxel_size: tuple[float, float, float]) -> bool:
    if not expected.any():
        return False
    # every few voxels will do: they are counted
    strides = [max(1, int(_WORKING_MM / size)) for size in voxel_size]
    some = tuple(slice(None, None, n) for n in strides)
    sizes = [n * size for n, size in zip(strides, voxel_size, strict=True)]
    head, expected = head[some], expected[some]
    box = around(expected, [max(_RIM_MM) / size for size in sizes])
    near, far = (dilate(expected[box], radius, sizes) for radius in _RIM_MM)
    rim = far & ~near
    return bool(rim.any() and (head[box][rim] == 0).mean() > _NOTHING)


def _warp_to_surface(head: Image, expected: BoolArray, model: Image, from_atlas: Transform) -> Transform:
    """Register the atlas's surface to that of the brain, at the working resolution."""
    cut = crop(head, expected, 16.0)
    small = coarser(cut, _WORKING_MM)
    around = apply(head.with_array(expected.astype(np.float32)), small.grid).array > 0.5
    where = dilate(around, 8.0, small.voxel_size) & ~erode(around, 25.0, small.voxel_size)
    ceiling = np.percentile(small.array[around], 99)
    calm = small.with_array(np.minimum(small.array, ceiling))
    pair = Pair(calm, model.with_array(smooth(model.array, (0.6,) * 3)), where=where)
    return deform([pair], small.grid, from_atlas, _SURFACE_DEFORMATION)


def _checked(found: BoolArray, t1w: Image) -> BoolArray:
    """Largest part without its holes, of the size of a brain."""
    mask = np.zeros_like(found)
    if found.any():
        box = bounding_box(found)
        mask[box] = fill_holes(keep_components(found[box]))
    volume = float(mask.sum() * np.prod(t1w.voxel_size) / 1000)
    if not _LEAST_ML < volume < _MOST_ML:
        raise UnusableData(
            f"The brain found in the T1w image has {volume:.0f} ml, outside the range of adult brains.",
            "Does the image show the whole head?",
        )
    return mask
