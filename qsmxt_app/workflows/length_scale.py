"""How lengths of the method scale with the object: those of a human head do not suit a mouse."""

from __future__ import annotations

from collections.abc import Sequence

HEAD_FIELD_OF_VIEW_MM = 240.0
"""Largest side of the image of a human head, which all lengths of the method are meant for."""

SMALL_VOXEL_MM = 0.2
SMALL_FIELD_OF_VIEW_MM = 80.0
"""Edge of a voxel (cube of the same volume) and largest side of an image up to which nothing else is known to
be needed to take the object for a small one: no scan of a person is as fine and as small."""


def length_scale(voxel_size: Sequence[float], shape: Sequence[int], object_size: str) -> float:
    """Return by what voxel sizes are multiplied before anything is computed: 1 for a human head.

    The field of a source does not change when all lengths do. So a small object is processed as if it were as
    large as a head: smoothing, the gaps that are closed in a mask and the regularisation scale with it.

    Parameters
    ----------
    voxel_size
        mm.
    shape
        Voxels along the three axes.
    object_size
        ``head``: 1. ``small``: the field of view of a head over that of the image. ``auto``: the same for
        voxels and fields of view that no scan of a person has, else 1.

    Examples
    --------
    >>> length_scale((0.1, 0.1, 0.1), (160, 200, 120), "auto")
    12.0
    >>> length_scale((1, 1, 1), (256, 256, 192), "auto")
    1.0
    """
    largest = max(edge * count for edge, count in zip(voxel_size, shape, strict=True))
    x, y, z = voxel_size
    small = (x * y * z) ** (1 / 3) <= SMALL_VOXEL_MM and largest <= SMALL_FIELD_OF_VIEW_MM
    if object_size == "head" or (object_size == "auto" and not small):
        return 1.0
    return HEAD_FIELD_OF_VIEW_MM / largest
