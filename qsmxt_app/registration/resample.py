"""Images resampled to another grid through a chain of transforms, with one interpolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from qsmxt_app.qsm.smoothing import smooth
from qsmxt_app.qsm.threads import in_parts
from qsmxt_app.registration.image import Affine, Grid, Image
from qsmxt_app.registration.interpolation import sample, sample_grid
from qsmxt_app.registration.transforms import Linear, Points, Transform

Interpolation = Literal["linear", "bspline", "nearest"]
_ORDERS: dict[Interpolation, int] = {"nearest": 0, "linear": 1, "bspline": 3}

_POINTS_AT_ONCE = 200_000
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
    source = np.ascontiguousarray(image.array, dtype=np.float32)
    if order > 1:
        source = spline_filter(source, order=order, mode="mirror", output=np.float32)
    result = np.empty(grid.shape, dtype=np.float32)
    chain = transform or Transform()

    through = np.linalg.inv(image.affine) @ chain.matrix @ grid.affine if chain.is_linear else None

    def fill(slab: slice) -> None:
        if order == 1 and through is not None:
            sample_grid(source, through[:3], slab.start, result[slab])
            return
        index = indices(slab_points(grid, slab), chain, image.affine)
        if order == 1:
            sample(source, index.reshape(-1, 3), result[slab].reshape(-1))
            return
        places = np.moveaxis(index, -1, 0)
        result[slab] = map_coordinates(source, places, order=order, prefilter=False, mode="grid-constant")
        if order > 1:
            outside = ((index < -_EDGE) | (index > np.array(source.shape) - 1 + _EDGE)).any(-1)
            result[slab][outside] = 0

    in_slabs(fill, grid)
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


def in_slabs(fill: Callable[[slice], None], grid: Grid) -> None:
    """Call a function for a few slices of a grid at a time, on all threads."""
    in_parts(fill, grid.shape[0], max(1, _POINTS_AT_ONCE // (grid.shape[1] * grid.shape[2])))


def slab_points(grid: Grid, slab: slice) -> Points:
    """World coordinates (x, y, z, 3) of the voxels of some slices of a grid."""
    _, ny, nz = grid.shape
    steps = grid.affine[:3, :3]
    plane = np.arange(ny)[:, None, None] * steps[:, 1] + np.arange(nz)[None, :, None] * steps[:, 2]
    rows = np.arange(slab.start, slab.stop)[:, None, None, None] * steps[:, 0]
    return np.asarray(rows + plane + grid.affine[:3, 3])


def indices(points: Points, transform: Transform, affine: Affine) -> Points:
    """Places (..., 3) in an image's voxels that points of the transform's target come from."""
    return Transform((Linear(affine),)).inverse().then(transform).map_points(points)


def coarser(image: Image, voxel_mm: float) -> Image:
    """Blur an image and sample it at least as coarsely as given, along its own axes."""
    size = np.asarray(image.voxel_size)
    ratio = np.maximum(1.0, voxel_mm / size)
    if (ratio < 1.2).all():
        return image.with_array(np.asarray(image.array, dtype=np.float32))
    widths = (0.4 * ratio * (ratio > 1.2)).tolist()
    return apply(image.with_array(smooth(image.array, widths, hold=True)), image.grid.with_voxels(ratio))
