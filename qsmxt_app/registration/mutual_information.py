"""Linear registration by mutual information, from any start that is a few centimetres off at most.

The joint histogram is smooth in the moving image's brightness (cubic B-splines), so that the information has
a gradient, which a quasi-Newton method follows. All voxels of a level are looked at, in one order: the same
input gives the same bytes.

References
----------
Mattes D, et al. IEEE Trans Med Imaging 22:120-128 (2003): the histogram and its gradient.
Byrd RH, et al. SIAM J Sci Comput 16:1190-1208 (1995): L-BFGS-B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.smoothing import smooth
from qsmxt_app.registration.image import Image
from qsmxt_app.registration.transforms import Transform, linear

Parameters = NDArray[np.float64]

_BINS = 32
_PERCENTILES = (0.5, 99.5)
"""Of brightness, that the bins span."""
_RADIUS_MM = 60.0
"""Of a head: turns and stretches are measured by how far they move its surface."""
_LEAST_COVERED = 0.1
"""Share of the voxels that the moving image must cover."""
_TOLERANCE = 1e-7
_SMALL = 1e-6


@dataclass(frozen=True)
class Level:
    """One resolution of a registration.

    Attributes
    ----------
    stride
        Every how many voxels, along each axis, the fixed image is looked at.
    smoothing
        Standard deviation in voxels of the Gaussian that both images are smoothed with.
    steps
        Maximum number of iterations.
    affine
        Whether size and shear may change, or only position and turn.
    """

    stride: int = 1
    smoothing: float = 0.0
    steps: int = 60
    affine: bool = False


def register_linear(
    fixed: Image, moving: Image, where: BoolArray, initial: Transform, levels: Sequence[Level]
) -> Transform:
    """Find the linear transform between two images by mutual information.

    Parameters
    ----------
    fixed, moving : Image
        Of any contrast, of like resolution.
    where : ndarray of bool
        On the fixed image's grid: the voxels that count.
    initial : Transform
        Linear, from moving to fixed, to start from.
    levels
        From coarse to fine.

    Returns
    -------
    Transform
        From moving to fixed. `initial`, where the images have too little in common.
    """
    here = initial
    for level in levels:
        metric = _Metric.of(fixed, moving, where, here, level)
        if metric is None:
            continue
        start = np.zeros(12 if level.affine else 6)
        options = {"maxiter": level.steps, "ftol": _TOLERANCE, "gtol": _SMALL, "maxcor": start.size}
        found = minimize(metric.evaluate, start, jac=True, method="L-BFGS-B", options=options)
        here = here.then(linear(_motion(found.x, metric.centre)))
    return here


@dataclass(frozen=True)
class _Metric:
    """Mutual information as a function of a motion of the fixed image's points before `initial`."""

    points: NDArray[np.float64]
    bins: NDArray[np.int32]
    moving: FloatArray
    to_index: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: tuple[float, float]

    @classmethod
    def of(
        cls, fixed: Image, moving: Image, where: BoolArray, initial: Transform, level: Level
    ) -> _Metric | None:
        """Smooth both images and sort the fixed one's brightness; None without voxels."""
        n = level.stride
        index = np.argwhere(where[::n, ::n, ::n]) * n
        if len(index) == 0:
            return None
        seen, other = (_smoothed(image.array, level.smoothing) for image in (fixed, moving))
        low, high = np.percentile(seen[where], _PERCENTILES)
        share = (seen[tuple(index.T)] - low) / max(high - low, np.finfo(np.float32).tiny)
        bins = np.clip(share * _BINS, 0, _BINS - 1).astype(np.int32)
        points = index @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
        low, high = np.percentile(other, _PERCENTILES)
        scale = float(low), float(max(high - low, np.finfo(np.float32).tiny))
        to_index = np.linalg.inv(moving.affine) @ initial.matrix
        return cls(points, bins, other, to_index, points.mean(0), scale)

    def evaluate(self, parameters: Parameters) -> tuple[float, Parameters]:
        """Minus the mutual information, and its gradient."""
        matrix = np.ascontiguousarray((self.to_index @ _motion(parameters, self.centre))[:3])
        offsets = self.points - self.centre
        place, slopes = _looked_up(self.points, self.moving, matrix, *self.scale)
        inside = np.count_nonzero(place >= 0)
        if inside < _LEAST_COVERED * place.size:
            return 0.0, np.zeros(parameters.size)
        joint = _joint(self.bins, place) / inside
        own, other = joint.sum(1), joint.sum(0)
        expected = own[:, None] * other
        present = joint > 0
        ratio = np.log(joint[present] / expected[present])
        information = float((joint[present] * ratio).sum())
        # the fixed image's marginal does not change with the transform
        change = np.zeros_like(joint)
        change[present] = ratio + np.log(own[:, None] * np.ones_like(joint))[present]
        pull = self.to_index[:3, :3].T @ _pull(self.bins, place, slopes, offsets, change) / inside
        return -information, -_along(parameters, pull)


def _smoothed(array: NDArray, width: float) -> FloatArray:
    single = np.ascontiguousarray(array, dtype=np.float32)
    return smooth(single, (width,) * 3, hold=True) if width else single


def _motion(parameters: Parameters, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix of a translation (mm) and a turn, or any linear change, about a centre."""
    matrix = np.eye(4)
    if parameters.size == 6:
        matrix[:3, :3] = Rotation.from_rotvec(parameters[3:] / _RADIUS_MM).as_matrix()
    else:
        matrix[:3, :3] += parameters[3:].reshape(3, 3) / _RADIUS_MM
    matrix[:3, 3] = centre + parameters[:3] - matrix[:3, :3] @ centre
    return matrix


def _along(parameters: Parameters, pull: NDArray[np.float64]) -> Parameters:
    """Gradient along the parameters of that along a matrix (3, 3) about the centre and a translation."""
    if parameters.size == 12:
        return np.concatenate([pull[:, 3], pull[:, :3].ravel() / _RADIUS_MM])
    turns = []
    for step in _SMALL * np.eye(3):
        there, back = (
            Rotation.from_rotvec(parameters[3:] / _RADIUS_MM + way).as_matrix() for way in (step, -step)
        )
        turns.append(float((pull[:, :3] * (there - back)).sum()) / (2 * _SMALL * _RADIUS_MM))
    return np.concatenate([pull[:, 3], turns])


@njit(cache=True, nogil=True)
def _looked_up(points, moving, matrix, low, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Brightness in bins at points (-1 outside), and its slope in bins along the axes of the image."""
    nx, ny, nz = moving.shape
    place = np.full(points.shape[0], -1.0)
    slopes = np.zeros((points.shape[0], 3))
    scale = (_BINS - 4) / width
    for n in range(points.shape[0]):
        p, q, r = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
        y = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
        z = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
        if x < 0 or y < 0 or z < 0 or x > nx - 1 or y > ny - 1 or z > nz - 1:
            continue
        i, j, k = min(int(x), max(nx - 2, 0)), min(int(y), max(ny - 2, 0)), min(int(z), max(nz - 2, 0))
        a, b, c = x - i, y - j, z - k
        i1, j1, k1 = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
        m000, m001 = moving[i, j, k], moving[i, j, k1]
        m010, m011 = moving[i, j1, k], moving[i, j1, k1]
        m100, m101 = moving[i1, j, k], moving[i1, j, k1]
        m110, m111 = moving[i1, j1, k], moving[i1, j1, k1]
        m00, m01 = m000 + c * (m001 - m000), m010 + c * (m011 - m010)
        m10, m11 = m100 + c * (m101 - m100), m110 + c * (m111 - m110)
        m0, m1 = m00 + b * (m01 - m00), m10 + b * (m11 - m10)
        value = scale * (m0 + a * (m1 - m0) - low)
        place[n] = 1 + min(max(value, 0.0), _BINS - 4.0)
        if 0 < value < _BINS - 4:
            slopes[n, 0] = scale * (m1 - m0)
            slopes[n, 1] = scale * ((1 - a) * (m01 - m00) + a * (m11 - m10))
            front = (1 - b) * (m001 - m000) + b * (m011 - m010)
            slopes[n, 2] = scale * ((1 - a) * front + a * ((1 - b) * (m101 - m100) + b * (m111 - m110)))
    return place, slopes


@njit(cache=True, nogil=True)
def _joint(bins, place):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Joint histogram, each of the moving image's values spread over four bins by a cubic B-spline."""
    joint = np.zeros((_BINS, _BINS))
    for n in range(bins.size):
        if place[n] < 0:
            continue
        first = int(place[n])
        t = place[n] - first
        row = joint[bins[n]]
        row[first - 1] += (1 - t) ** 3 / 6
        row[first] += (3 * t**3 - 6 * t**2 + 4) / 6
        row[first + 1] += (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
        row[first + 2] += t**3 / 6
    return joint


@njit(cache=True, nogil=True)
def _pull(bins, place, slopes, offsets, change):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Change of the information with a matrix (3, 3) about the centre and a translation, in image axes."""
    pull = np.zeros((3, 4))
    for n in range(bins.size):
        if place[n] < 0:
            continue
        first = int(place[n])
        t = place[n] - first
        row = change[bins[n]]
        weight = (
            -0.5 * (1 - t) ** 2 * row[first - 1]
            + (1.5 * t**2 - 2 * t) * row[first]
            + (-1.5 * t**2 + t + 0.5) * row[first + 1]
            + 0.5 * t**2 * row[first + 2]
        )
        for axis in range(3):
            along = weight * slopes[n, axis]
            pull[axis, 0] += along * offsets[n, 0]
            pull[axis, 1] += along * offsets[n, 1]
            pull[axis, 2] += along * offsets[n, 2]
            pull[axis, 3] += along
    return pull
