"""Transforms between spaces: chains of matrices and displacement fields, inverted and composed as a whole.

A transform named "from A to B" brings an *image* from A to B. To do so it maps *points* the other way: for
every voxel of B's grid it says which point of A to look at. This is how ITK, ANTs and BIDS
(``from-A_to-B_mode-image_xfm``) speak of transforms. Points are world coordinates in mm as NIfTI has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.registration.image import Affine
from qsmxt_app.registration.interpolation import displace

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """A matrix: points p of B go to ``matrix @ (p, 1)`` of A.

    Attributes
    ----------
    matrix : ndarray (4, 4)
    """

    matrix: Affine

    def map_points(self, points: Points) -> Points:
        """Map points (..., 3) in mm."""
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def inverse(self) -> Linear:
        """The inverse."""
        return Linear(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))


@dataclass(frozen=True)
class Warp:
    """A displacement field and its inverse on one grid: points p of B go to ``p + displacement(p)`` of A.

    Attributes
    ----------
    displacement, inverse_displacement : ndarray (x, y, z, 3)
        mm, along the world's axes; nothing moves outside the grid.
    affine : ndarray (4, 4)
        From the grid's indices to world coordinates.
    """

    displacement: FloatArray
    inverse_displacement: FloatArray
    affine: Affine

    def map_points(self, points: Points) -> Points:
        """Map points (..., 3) in mm; displacements are interpolated linearly."""
        to_index = np.linalg.inv(self.affine)
        flat = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        moved = np.empty_like(flat)
        displace(self.displacement, flat @ to_index[:3, :3].T + to_index[:3, 3], flat, moved)
        return moved.reshape(np.shape(points))

    def inverse(self) -> Warp:
        """The inverse."""
        return Warp(self.inverse_displacement, self.displacement, self.affine)


Step = Linear | Warp


@dataclass(frozen=True)
class Transform:
    """A chain of steps that brings images from A to B.

    Attributes
    ----------
    steps
        In the order in which a point of B passes through them on its way to A. None: nothing moves.

    Examples
    --------
    >>> half_way = Transform((Linear(np.diag([2.0, 2.0, 2.0, 1.0])),))
    >>> half_way.then(half_way.inverse()).map_points(np.array([1.0, 2.0, 3.0]))
    array([1., 2., 3.])
    """

    steps: tuple[Step, ...] = ()

    def map_points(self, points: Points) -> Points:
        """World coordinates in A of points of B.

        Parameters
        ----------
        points : ndarray (..., 3)
            mm.

        Returns
        -------
        ndarray (..., 3)
            mm.
        """
        mapped = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        for step in self.steps:
            mapped = step.map_points(mapped)
        return mapped.reshape(np.shape(points))

    def inverse(self) -> Transform:
        """Bring images from B to A."""
        return Transform(tuple(step.inverse() for step in reversed(self.steps)))

    def then(self, following: Transform) -> Transform:
        """Bring images from A to C: this transform to B, the following one from B to C."""
        merged: list[Step] = []
        for step in following.steps + self.steps:
            if merged and isinstance(step, Linear) and isinstance(merged[-1], Linear):
                merged[-1] = Linear(step.matrix @ merged[-1].matrix)
            else:
                merged.append(step)
        return Transform(tuple(merged))

    @property
    def is_linear(self) -> bool:
        """Whether there is no displacement field in the chain."""
        return all(isinstance(step, Linear) for step in self.steps)

    @property
    def matrix(self) -> Affine:
        """The whole chain as one matrix (4, 4) that takes points of B to A.

        Raises
        ------
        ValueError
            There is a displacement field in the chain.
        """
        matrix = np.eye(4)
        for step in self.steps:
            if not isinstance(step, Linear):
                raise ValueError("A transform with a displacement field cannot be written as a matrix.")
            matrix = step.matrix @ matrix
        return matrix


def linear(matrix: NDArray) -> Transform:
    """Make a transform of a matrix (4, 4) that takes points of B to A."""
    return Transform((Linear(np.asarray(matrix, dtype=np.float64)),))
