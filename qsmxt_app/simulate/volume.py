"""Scalar fields on regular grids in head coordinates (mm), and random smooth ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from qsmxt_app.arrays import FloatArray

HEAD_BOX = (np.array([-104.0, -148.0, -176.0]), np.array([104.0, 124.0, 114.0]))
"""Corners (mm, MNI axes) of the box that holds the head down to the neck."""

BRAIN_BOX = (np.array([-84.0, -118.0, -84.0]), np.array([84.0, 84.0, 92.0]))
"""Corners (mm, MNI axes) of the box that holds the brain."""


@dataclass(frozen=True)
class Volume:
    """A scalar field sampled every ``spacing`` mm from ``origin`` on.

    Attributes
    ----------
    data : ndarray (x, y, z)
    origin : ndarray (3,)
        Position of the first voxel's centre in mm.
    spacing
        In mm, the same along all axes.
    """

    data: NDArray
    origin: NDArray[np.float64]
    spacing: float

    def at(self, points: NDArray[np.float64], order: int = 1) -> FloatArray:
        """Interpolated values at points (..., 3) in mm; the edge is continued outwards."""
        index = np.moveaxis((points - self.origin) / self.spacing, -1, 0)
        return np.asarray(map_coordinates(self.data, index, order=order, mode="nearest"), dtype=np.float32)


def grid_shape(box: tuple[NDArray, NDArray], spacing: float) -> tuple[int, int, int]:
    """Number of samples along each axis of a box."""
    nx, ny, nz = (int(np.floor(extent / spacing)) + 1 for extent in box[1] - box[0])
    return nx, ny, nz


def grid_axes(box: tuple[NDArray, NDArray], spacing: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coordinates in mm along x, y and z, shaped to broadcast against each other."""
    x, y, z = (
        (box[0][axis] + spacing * np.arange(n)).astype(np.float32)
        for axis, n in enumerate(grid_shape(box, spacing))
    )
    return x[:, None, None], y[None, :, None], z[None, None, :]


def random_field(
    rng: np.random.Generator, box: tuple[NDArray, NDArray], spacing: float, correlation: float
) -> Volume:
    """Gaussian random field of zero mean and unit variance.

    Parameters
    ----------
    rng
        Source of randomness.
    box
        Corners in mm.
    spacing
        Grid spacing in mm.
    correlation
        Standard deviation in mm of the Gaussian that the white noise is smoothed with.

    Returns
    -------
    Volume
    """
    noise = rng.standard_normal(grid_shape(box, spacing), dtype=np.float32)
    noise = gaussian_filter(noise, correlation / spacing, mode="wrap", truncate=3.0)
    noise -= noise.mean()
    return Volume(noise / noise.std(), box[0], spacing)
