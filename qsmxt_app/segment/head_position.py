"""Position of a head: rigid and affine registration of heads far from where they are expected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsmxt_app.arrays import BoolArray
from qsmxt_app.registration import Image, Transform, apply, linear
from qsmxt_app.registration.mutual_information import Level, register_linear
from qsmxt_app.registration.resample import coarser
from qsmxt_app.registration.similarity import mutual_information

COARSE_MM = 8.0
FINE_MM = 2.0
_TURN = 35.0
_STARTS = [(0.0, 0.0, 0.0)] + [
    tuple(sign * _TURN if axis == a else 0.0 for a in range(3)) for axis in range(3) for sign in (-1, 1)
]
_KEPT = 2
"""Coarse solutions that are followed to the end."""
_RIGID = (Level(4, 2.0), Level(2, 1.0))
_AFFINE = (Level(4, 2.0, affine=True), Level(2, 1.0, affine=True))


def find_head(
    fixed: Image,
    fixed_mask: BoolArray,
    moving: Image,
    centre: NDArray,
    starts: Sequence[Transform] = (),
    *,
    affine: bool,
) -> Transform:
    """Register a moving image to a fixed one of the same head or brain, from any position.

    Rigid registrations start from several rotations about the centre; the best two by mutual information
    within the mask are refined.

    Parameters
    ----------
    fixed : Image
    fixed_mask : ndarray of bool
        What is compared: the brain.
    moving : Image
    centre : ndarray (3,)
        Where the middle of the mask is thought to be in the moving image, in mm.
    starts
        Further transforms to start from.
    affine
        Whether size and shear may change too (two heads), or not (one head: to a few millimetres).

    Returns
    -------
    Transform
        From moving to fixed.
    """
    coarse_fixed, coarse_moving = coarser(fixed, COARSE_MM), coarser(moving, COARSE_MM)
    coarse_mask = apply(fixed.with_array(fixed_mask.astype(np.float32)), coarse_fixed.grid).array > 0.5
    middle = (fixed.affine @ [*np.argwhere(fixed_mask).mean(0), 1])[:3]
    turned = [_turn(angles, middle, centre) for angles in _STARTS]
    found = [
        register_linear(coarse_fixed, coarse_moving, coarse_mask, start, [Level()])
        for start in (*starts, *turned)
    ]
    scored = sorted(found, key=lambda t: -similarity_within(coarse_fixed, coarse_moving, t, coarse_mask))
    fine_fixed, fine_moving = coarser(fixed, FINE_MM), coarser(moving, FINE_MM)
    fine_mask = apply(fixed.with_array(fixed_mask.astype(np.float32)), fine_fixed.grid).array > 0.5
    levels = [*_RIGID, *(_AFFINE if affine else ())]
    refined = [
        register_linear(fine_fixed, fine_moving, fine_mask, start, levels)
        for start in _distinct(scored, middle)[:_KEPT]
    ]
    return max(refined, key=lambda t: similarity_within(fine_fixed, fine_moving, t, fine_mask))


def similarity_within(fixed: Image, moving: Image, transform: Transform, mask: BoolArray) -> float:
    """Mutual information over the part of the mask that the moving image covers; 0 for a tenth or less."""
    seen = (
        apply(moving.with_array(np.ones(moving.array.shape, np.float32)), fixed.grid, transform).array > 0.5
    )
    covered = mask & seen
    if covered.sum() <= 0.1 * mask.sum():
        return 0.0
    return mutual_information(fixed, moving, transform, covered)


def _turn(angles: Sequence[float], middle: NDArray, centre: NDArray) -> Transform:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ middle
    return linear(matrix)


def _distinct(transforms: Sequence[Transform], middle: NDArray) -> list[Transform]:
    """Leave out those that lead to the same place as a better one."""
    corners = middle + 60 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    kept: list[Transform] = []
    for transform in transforms:
        here = transform.map_points(corners)
        if all(np.linalg.norm(here - other.map_points(corners), axis=1).max() > COARSE_MM for other in kept):
            kept.append(transform)
    return kept
