"""Registration of two scans of one head in one session, which moved a little in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import BoolArray
from qsmxt_app.registration.image import Image
from qsmxt_app.registration.mutual_information import Level, register_linear
from qsmxt_app.registration.rigid import local_correlation, refine_rigid
from qsmxt_app.registration.transforms import Transform

_LEVELS = (Level(4, 2.0), Level(2, 1.0))


@dataclass(frozen=True)
class SameHead:
    """How one scan lies to another.

    Attributes
    ----------
    transform : Transform
        Rigid, from the moving image to the fixed one; that of the headers where no other is better.
    shift_mm, angle_degrees
        Of the middle of the head, and about it.
    likeness
        Mean squared local correlation after it, 0 to 1.
    """

    transform: Transform
    shift_mm: float
    angle_degrees: float
    likeness: float


def register_same_head(fixed: Image, where: BoolArray, moving: Image) -> SameHead:
    """Register a scan to another of the same head, from where the headers say that it lies.

    Parameters
    ----------
    fixed : Image
    where : ndarray of bool
        On the fixed image's grid: the head or the brain.
    moving : Image
        Of any contrast.
    """
    header = Transform()
    found = register_linear(fixed, moving, where, header, _LEVELS)
    candidates = [header, *(refine_rigid(fixed, moving, where, start) for start in (header, found))]
    alike = [local_correlation(fixed, moving, where, candidate) for candidate in candidates]
    best = candidates[int(np.argmax(alike))]
    middle = fixed.affine[:3, :3] @ np.argwhere(where).mean(0) + fixed.affine[:3, 3]
    return SameHead(
        best,
        float(np.linalg.norm(best.map_points(middle) - middle)),
        float(np.degrees(Rotation.from_matrix(best.matrix[:3, :3]).magnitude())),
        float(max(alike)),
    )
