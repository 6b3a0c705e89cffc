"""The mean of transforms: what keeps a template in the middle of its participants.

All matrices are (4, 4) in RAS world coordinates (mm) and map points of the template to points of a
participant, as resampling needs it. A displacement is an (x, y, z, 3) array on the template's grid, in mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.registration.transforms import Step, Transform, Warp

Matrix = NDArray[np.float64]


def mean_affine(matrices: Sequence[Matrix]) -> Matrix:
    """Average affine transforms by their logarithms (Arsigny 2006, MRM 56:411).

    The mean of transforms and that of their inverses are inverse to each other, and the mean of rotations is
    a rotation, which the arithmetic mean of matrices does not give.

    Parameters
    ----------
    matrices
        (4, 4) each; rotations of less than 180 degrees.

    Returns
    -------
    ndarray (4, 4)

    Raises
    ------
    ValueError
        There is none, or one that turns the image inside out.
    """
    if not matrices:
        raise ValueError("there is no transform to average")
    if any(np.linalg.det(matrix[:3, :3]) <= 0 for matrix in matrices):
        raise ValueError("a transform mirrors or flattens the image")
    logarithms = [np.real(scipy.linalg.logm(matrix)) for matrix in matrices]
    return np.asarray(np.real(scipy.linalg.expm(np.mean(logarithms, axis=0))))


def centred(matrices: Sequence[Matrix]) -> list[Matrix]:
    """Move the template so that the mean of all transforms from it is none."""
    back = np.linalg.inv(mean_affine(matrices))
    return [matrix @ back for matrix in matrices]


def starting_point(volumes: Sequence[float]) -> int:
    """Return the participant that all are registered to at first: the first not much smaller than most.

    A slab or a crop as the first participant would overlap too little with all others.

    Parameters
    ----------
    volumes
        Of the participants' masks.

    Examples
    --------
    >>> starting_point([90.0, 1400.0, 1300.0, 1500.0]), starting_point([1000.0, 1400.0, 1300.0])
    (1, 0)
    """
    least = 0.5 * float(np.median(volumes))
    return next(number for number, volume in enumerate(volumes) if volume >= least)


class MeanDisplacement:
    """Mean of displacements that are given one after the other."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._sum = np.zeros((*shape, 3), dtype=np.float64)
        self._count = 0

    def add(self, displacement: FloatArray) -> None:
        """Take in one displacement (x, y, z, 3), mm."""
        self._sum += displacement
        self._count += 1

    @property
    def mean(self) -> FloatArray:
        """Mean displacement (x, y, z, 3), mm."""
        return (self._sum / max(self._count, 1)).astype(np.float32)


def merged(transform: Transform) -> Transform:
    """Make one displacement of those that follow each other on one grid: half the file, and as fast as one.

    Parameters
    ----------
    transform : Transform

    Returns
    -------
    Transform
        Which differs by what linear interpolation between voxels of smooth displacements loses.
    """
    steps: list[Step] = []
    for step in transform.steps:
        last = steps[-1] if steps else None
        if isinstance(step, Warp) and isinstance(last, Warp) and _same_grid(step, last):
            back = _one_after_other(step.inverse(), last.inverse())
            steps[-1] = Warp(_one_after_other(last, step), back, last.affine)
        else:
            steps.append(step)
    return Transform(tuple(steps))


def _one_after_other(first: Warp, second: Warp) -> FloatArray:
    points = np.moveaxis(np.indices(first.displacement.shape[:3]), 0, -1) @ first.affine[:3, :3].T
    points += first.affine[:3, 3]
    return np.asarray(second.map_points(first.map_points(points)) - points, dtype=np.float32)


def _same_grid(one: Warp, other: Warp) -> bool:
    return one.displacement.shape == other.displacement.shape and np.allclose(one.affine, other.affine)
