"""Images resampled to another grid through a chain of transforms, with one interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from qsmxt_app.registration.image import Affine, Grid, Image
from qsmxt_app.registration.transforms import Points, Transform

Interpolation = Literal["linear", "bspline", "nearest"]
_ORDERS: dict[Interpolation, int] = {"nearest": 0, "linear": 1, "bspline": 3}

_POINTS_AT_ONCE = 1_000_000
_EDGE = 0.5
"""A voxel reaches half its width beyond its centre."""


@dataclass(frozen=True)
class ResampledLabels:
    """Labels on another grid.

    Attributes
    ----------
    labels : Image
        The label that fills most of each voxel.
    fraction : ndarray (x, y, z)
        Share of the voxel that it fills, 0 to 1.
    """

    labels: Image
    fraction: NDArray[np.float32]


def apply(
    image: Image, grid: Grid, transform: Transform | None = None, interpolation: Interpolation = "linear"
) -> Image:
    """Bring an image from its space to a grid in another.

    Parameters
    ----------
    image : Image
    grid : Grid
        Where the result lies.
    transform : Transform
        From the image's space to the grid's. None: both are the same world.
    interpolation
        ``"bspline"`` is cubic. Outside the image there are zeros.

    Returns
    -------
    Image
        float32.
    """
    order = _ORDERS[interpolation]
    source = np.asarray(image.array, dtype=np.float32)
    if order > 1:
        source = spline_filter(source, order=order, mode="mirror", output=np.float32)
    result = np.empty(grid.shape, dtype=np.float32)
    for slab, points in slabs(grid):
        index = indices(points, transform or Transform(), image.affine)
        result[slab] = map_coordinates(source, index, order=order, prefilter=False, mode="grid-constant")
        if order > 1:
            outside = np.zeros(index.shape[1:], dtype=bool)
            for axis, size in enumerate(image.array.shape):
                outside |= (index[axis] < -_EDGE) | (index[axis] > size - 1 + _EDGE)
            result[slab][outside] = 0
    return Image(result, grid.affine)


def without_shear(image: Image) -> Image:
    """Bring an image whose axes do not stand at right angles to a grid whose axes do.

    Parameters
    ----------
    image : Image

    Returns
    -------
    Image
        The image itself where nothing is to be done; else float32, on the nearest orthogonal axes, in voxels
        of the same edges, as large as it takes to hold the whole image.
    """
    if image.grid.is_orthogonal:
        return image
    edges = np.asarray(image.voxel_size)
    left, _, right = np.linalg.svd(image.affine[:3, :3] / edges)
    axes = (left @ right) * edges
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(image.array.shape) - 1)
    index = (corners @ image.affine[:3, :3].T) @ np.linalg.inv(axes).T
    low, high = np.floor(index.min(0)), np.ceil(index.max(0))
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = image.affine[:3, 3] + axes @ low
    x, y, z = (int(n) + 1 for n in high - low)
    return apply(image, Grid((x, y, z), affine))


def slabs(grid: Grid) -> Iterator[tuple[slice, Points]]:
    """World coordinates of a grid's voxels, a few slices at a time."""
    nx, ny, nz = grid.shape
    thickness = max(1, _POINTS_AT_ONCE // (ny * nz))
    steps = grid.affine[:3, :3]
    plane = np.arange(ny)[:, None, None] * steps[:, 1] + np.arange(nz)[None, :, None] * steps[:, 2]
    for first in range(0, nx, thickness):
        slab = slice(first, min(nx, first + thickness))
        rows = np.arange(slab.start, slab.stop)[:, None, None, None] * steps[:, 0]
        yield slab, rows + plane + grid.affine[:3, 3]


def indices(points: Points, transform: Transform, affine: Affine) -> NDArray[np.float64]:
    """Places (3, ...) in an image's voxels that points of the transform's target come from."""
    to_index = np.linalg.inv(affine)
    mapped = transform.map_points(points)
    return np.moveaxis(mapped @ to_index[:3, :3].T + to_index[:3, 3], -1, 0)
