"""Linear registration of images of like contrast and resolution, of one head or of several.

The search starts where the centres of mass coincide, and follows mutual information from voxels of 12 mm to
voxels of 2 mm. It is the program's own: results do not depend on whether ANTs is installed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray
from qsmxt_app.qsm.morphology import dilate
from qsmxt_app.registration.image import Image
from qsmxt_app.registration.mutual_information import Level, register_linear
from qsmxt_app.registration.resample import coarser
from qsmxt_app.registration.rigid import refine_rigid
from qsmxt_app.registration.transforms import Transform, linear

_LEVELS_MM = (12.0, 8.0, 4.0, 2.0)
"""Distance of the voxels that are looked at."""
_RIM_MM = 12.0
"""Of the background around a head that is looked at as well: it holds the head's outline."""
_SMOOTHING = 0.4
"""Standard deviation of the smoothing over the distance of the voxels that are looked at."""
_LEAST_COVERED = 0.1


def align(fixed: Image, moving: Image, *, affine: bool, initial: Transform | None = None) -> Transform:
    """Find the rigid or affine transform from one image to another.

    Parameters
    ----------
    fixed, moving : Image
        0 outside the head.
    affine
        Whether size and shear may change too.
    initial : Transform
        Linear, from moving to fixed, to start from. None: the centres of mass are aligned.

    Returns
    -------
    Transform
        From moving to fixed. The same input gives the same bytes.

    Raises
    ------
    ValueError
        An image is empty or not finite, or the two have too little in common.
    """
    for image in (fixed, moving):
        if not np.isfinite(image.array).all():
            raise ValueError("an image holds values that are not finite")
        if not image.array.any():
            raise ValueError("an image is empty")
    where = dilate(fixed.array != 0, _RIM_MM, fixed.voxel_size)
    start = _centred(fixed, moving) if initial is None else initial
    levels = _levels(float(np.prod(fixed.voxel_size)) ** (1 / 3))
    levels += [replace(level, affine=True) for level in levels if affine]
    found = register_linear(fixed, moving, where, start, levels)
    if not affine:  # mutual information of coarse voxels is a few tenths of a voxel off
        near, other = coarser(fixed, _LEVELS_MM[-1]), coarser(moving, _LEVELS_MM[-1])
        found = refine_rigid(near, other, near.array > 0, found)
    if _covered(fixed, moving, where, found) < _LEAST_COVERED:
        raise ValueError("they cover different parts of the body")
    return found


def _levels(edge: float) -> list[Level]:
    """Levels for voxels of an edge in mm; images that are coarser than a level are looked at as they are."""
    wanted = [mm for mm in _LEVELS_MM if mm > edge] or [edge]
    return [Level(max(1, round(mm / edge)), _SMOOTHING * mm / edge * (mm > 1.2 * edge)) for mm in wanted]


def _centred(fixed: Image, moving: Image) -> Transform:
    matrix = np.eye(4)
    matrix[:3, 3] = _centre_of_mass(moving) - _centre_of_mass(fixed)
    return linear(matrix)


def _centre_of_mass(image: Image) -> NDArray[np.float64]:
    weight = abs(image.array).astype(np.float64)
    sums = [weight.sum(axis=tuple(b for b in range(3) if b != a)) for a in range(3)]
    index = [float(line @ np.arange(line.size) / line.sum()) for line in sums]
    return np.asarray(image.affine[:3, :3] @ index + image.affine[:3, 3])


def _covered(fixed: Image, moving: Image, where: BoolArray, transform: Transform) -> float:
    """Share of the voxels that lie in the moving image."""
    points = np.argwhere(where[::4, ::4, ::4]) * 4 @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    to_index = np.linalg.inv(moving.affine)
    index = transform.map_points(points) @ to_index[:3, :3].T + to_index[:3, 3]
    return float(((index > -0.5) & (index < np.array(moving.array.shape) - 0.5)).all(axis=1).mean())
