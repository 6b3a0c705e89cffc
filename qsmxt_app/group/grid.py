"""The voxel grid of a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.registration.image import Grid, bounding_box

MARGIN_MM = 8.0


@dataclass(frozen=True)
class Box:
    """Lowest and highest corner in world coordinates, mm."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def box_of(mask: NDArray[np.bool_], to_world: NDArray[np.float64]) -> Box:
    """Return the box around a mask.

    Parameters
    ----------
    mask : ndarray (x, y, z) of bool
    to_world : ndarray (4, 4)
        From voxels to the world in which the box is wanted, mm.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    ends = [(edge.start - 0.5, edge.stop - 0.5) for edge in bounding_box(mask, [0.0, 0.0, 0.0])]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    world = to_world[:3, :3] @ corners + to_world[:3, 3:]
    return Box(world.min(axis=1), world.max(axis=1))


def grid_around(boxes: Sequence[Box], resolution: float, margin_mm: float = MARGIN_MM) -> Grid:
    """Return a grid of cubes along the axes of the world that holds all boxes with a margin.

    Parameters
    ----------
    boxes
        Of the participants, in the world of the template.
    resolution
        Edge of its voxels, mm.
    margin_mm
        What is added on all sides.
    """
    low = np.min([box.low for box in boxes], axis=0) - margin_mm
    high = np.max([box.high for box in boxes], axis=0) + margin_mm
    # whole multiples of the voxel: a little more margin for one participant does not move every voxel
    first = np.floor(low / resolution)
    x, y, z = (np.ceil(high / resolution) - first + 1).astype(int).tolist()
    affine = np.diag([resolution, resolution, resolution, 1.0])
    affine[:3, 3] = first * resolution
    return Grid((x, y, z), affine)


def common_resolution(voxel_sizes: Sequence[Sequence[float]]) -> float:
    """Return the voxel edge of a template: that of a cube of the median volume, to a tenth of a mm."""
    edges = [float(np.prod(size)) ** (1 / 3) for size in voxel_sizes]
    return max(0.1, round(float(np.median(edges)), 1))
