"""Where a scan's voxels lie in the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VIEW_CENTRE = np.array([0.0, -16.0, 4.0])
"""Centre of the field of view in head coordinates (mm, MNI axes; the scanner's when the head is upright)."""

VIEW_EXTENT = np.array([192.0, 240.0, 192.0])
"""Edges of the field of view in mm, along the axes of the scan."""

_FINE_MM = 1.0


@dataclass(frozen=True)
class ScanGrid:
    """Voxels of a scan, and the finer voxels that they are made of.

    Attributes
    ----------
    shape, fine_shape : tuple of 3 ints
    subdivision : tuple of 3 ints
        Fine voxels along each edge of a scan voxel, at least 2.
    affine : ndarray (4, 4)
        From scan voxels to scanner coordinates in mm.
    fine_origin, fine_steps : ndarray (3,), (3, 3)
        First fine voxel's centre, and the steps along the axes as columns, in mm.
    fine_voxel_size : ndarray (3,)
        mm.
    b0_direction : ndarray (3,)
        Unit vector in voxel axes.
    """

    shape: tuple[int, int, int]
    subdivision: tuple[int, int, int]
    affine: NDArray[np.float64]
    fine_origin: NDArray[np.float64]
    fine_steps: NDArray[np.float64]
    fine_voxel_size: NDArray[np.float64]
    b0_direction: NDArray[np.float64]

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        """Fine voxels along each axis."""
        nx, ny, nz = (n * s for n, s in zip(self.shape, self.subdivision, strict=True))
        return nx, ny, nz


def scan_grid(
    voxel_size: Sequence[float], b0_direction: Sequence[float], *, extent: NDArray = VIEW_EXTENT
) -> ScanGrid:
    """Lay out a scan around the head.

    Parameters
    ----------
    voxel_size
        mm.
    b0_direction
        B0 in voxel axes, any length: the view is turned such that this is the scanner's z.
    extent
        Edges of the view in mm.
    """
    edges = np.asarray(voxel_size, dtype=np.float64)
    b = np.asarray(b0_direction, dtype=np.float64)
    b = b / np.linalg.norm(b)
    turn = rotation_onto_z(b)
    nx, ny, nz = (2 * round(e / v / 2) for e, v in zip(extent, edges, strict=True))
    sx, sy, sz = (max(2, int(np.ceil(v / _FINE_MM - 1e-6))) for v in edges)
    affine = np.eye(4)
    affine[:3, :3] = turn * edges
    affine[:3, 3] = VIEW_CENTRE - affine[:3, :3] @ ((np.array([nx, ny, nz]) - 1) / 2)
    fine_size = edges / (sx, sy, sz)
    fine_steps = turn * fine_size
    first = (1 / np.array([sx, sy, sz]) - 1) / 2
    return ScanGrid(
        shape=(nx, ny, nz),
        subdivision=(sx, sy, sz),
        affine=affine,
        fine_origin=affine[:3, 3] + affine[:3, :3] @ first,
        fine_steps=fine_steps,
        fine_voxel_size=fine_size,
        b0_direction=b,
    )


def rotation_onto_z(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest rotation that takes a unit vector to (0, 0, 1) (Rodrigues)."""
    z = np.array([0.0, 0.0, 1.0])
    cosine = float(direction @ z)
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    x, y, w = np.cross(direction, z)
    skew = np.array([[0, -w, y], [w, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + cosine))
