"""Rigid alignment of two images of one head to a fraction of a voxel, whatever their contrast and shading.

Mutual information of whole images finds a head wherever it lies, but shading moves its maximum away from the
right place. What is compared here is the squared correlation in small neighbourhoods, which neither
shading nor the sign of the contrast changes.

References
----------
Avants BB, et al. Med Image Anal 12:26-41 (2008): the correlation. Baker S, Matthews I. Int J Comput Vis
56:221-255 (2004): Gauss-Newton steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.smoothing import local_mean
from qsmxt_app.registration.image import Grid, Image
from qsmxt_app.registration.resample import apply
from qsmxt_app.registration.transforms import Transform, linear

Motion = NDArray[np.float64]

_RADIUS = 2
_FLAT = 1e-4
"""Fraction of the image's variance below which a neighbourhood carries no information."""
_COVERED = 0.99
_LEAST_SEEN = 0.1
"""Share of the voxels that count; images that have less in common cannot be compared."""
_MOST_STEPS, _HALVINGS = 30, 5
_STILL = 0.005
"""Millimetres, and degrees of a head, below which nothing moves any more."""


def refine_rigid(fixed: Image, moving: Image, where: BoolArray, initial: Transform) -> Transform:
    """Refine the rigid alignment of two images of the same head that are nearly aligned.

    Parameters
    ----------
    fixed, moving : Image
        Of like resolution, a few voxels apart at most.
    where : ndarray of bool
        On the fixed image's grid: the voxels that count.
    initial : Transform
        Linear, from moving to fixed, to start from.

    Returns
    -------
    Transform
        From moving to fixed: `initial` after a rigid motion. The same input gives the same bytes.
    """
    target = _Target.of(fixed, where)
    here = initial
    score, step = target.evaluate(moving, here)
    for _ in range(_MOST_STEPS):
        for _ in range(_HALVINGS):
            there = here.then(target.motion(step))
            found, following = target.evaluate(moving, there)
            if found > score:
                break
            step = step / 2
        else:
            return here
        here, score = there, found
        if max(np.linalg.norm(step[:3]), np.degrees(np.linalg.norm(step[3:]))) < _STILL:
            return here
        step = following
    return here


def local_correlation(fixed: Image, moving: Image, where: BoolArray, transform: Transform) -> float:
    """Return the mean squared local correlation of an image and a transformed one, from 0 to 1.

    Parameters
    ----------
    fixed, moving, where
        As for :func:`refine_rigid`.
    transform : Transform
        From moving to fixed.
    """
    return _Target.of(fixed, where).evaluate(moving, transform)[0]


@dataclass(frozen=True)
class _Target:
    """A fixed image, and what of the correlation depends on it alone."""

    grid: Grid
    array: FloatArray
    mean: FloatArray
    variance: FloatArray
    where: BoolArray
    centre: NDArray[np.float64]

    @classmethod
    def of(cls, fixed: Image, where: BoolArray) -> _Target:
        array = _standardised(fixed.array, where)
        mean = local_mean(array, _RADIUS)
        variance = local_mean(array * array, _RADIUS) - mean * mean
        index = np.argwhere(where).mean(0)
        centre = fixed.affine[:3, :3] @ index + fixed.affine[:3, 3]
        return cls(fixed.grid, array, mean, variance, where & (variance > _FLAT), centre)

    def motion(self, step: Motion) -> Transform:
        """Translation in mm and rotation in rad about the middle, as a transform of the fixed world."""
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix()
        matrix[:3, 3] = self.centre + step[:3] - matrix[:3, :3] @ self.centre
        return linear(matrix)

    def evaluate(self, moving: Image, transform: Transform) -> tuple[float, Motion]:
        """Mean squared local correlation, and the Gauss-Newton step towards a larger one."""
        brought = apply(moving, self.grid, transform).array
        ones = moving.with_array(np.ones(moving.array.shape, np.float32))
        inside = self.where & (local_mean(apply(ones, self.grid, transform).array, _RADIUS) > _COVERED)
        if inside.sum() <= _LEAST_SEEN * self.where.sum():
            return 0.0, np.zeros(6)
        brought = _standardised(brought, inside)
        mean = local_mean(brought, _RADIUS)
        variance = local_mean(brought * brought, _RADIUS) - mean * mean
        inside &= variance > _FLAT
        together = (local_mean(self.array * brought, _RADIUS) - self.mean * mean)[inside]
        own, other = self.variance[inside], variance[inside]
        # in each neighbourhood the fixed image is a line of the moving one plus a rest; the correlation grows
        # as the rest shrinks, so its gradient and Gauss-Newton matrix are those of least squares of the rest
        slope = together / other
        rest = (self.array - self.mean)[inside] - slope * (brought - mean)[inside]
        along = self._along(brought, inside)
        weight = together / (own * other)
        pull = along.T @ (weight * rest).astype(np.float64)
        curvature = along.T @ ((weight * slope)[:, None] * along)
        step = np.asarray(np.linalg.lstsq(curvature, pull)[0], dtype=np.float64)
        return float((weight * together).mean(dtype=np.float64)), step

    def _along(self, brought: FloatArray, inside: BoolArray) -> NDArray[np.float64]:
        """Change of the moving image at each voxel with the six numbers of a motion."""
        slopes = np.stack([slope[inside] for slope in np.gradient(brought)], axis=-1)
        gradient = slopes.astype(np.float64) @ np.linalg.inv(self.grid.affine[:3, :3])
        points = np.argwhere(inside) @ self.grid.affine[:3, :3].T + self.grid.affine[:3, 3]
        return np.concatenate([gradient, np.cross(points - self.centre, gradient)], axis=1)


def _standardised(array: NDArray, where: BoolArray) -> FloatArray:
    values = array[where]
    return np.asarray((array - values.mean()) / max(float(values.std()), 1e-12), dtype=np.float32)
