"""Linear registration of whole heads: motions and sizes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from qsmxt_app.registration import Image, Transform, apply, linear
from qsmxt_app.registration.head_alignment import align


@pytest.fixture(scope="module")
def head() -> Image:
    """A lumpy head of 2.5 mm, oblique, with nothing at the edge."""
    array = gaussian_filter(np.random.default_rng(0).standard_normal((56, 60, 54)), 2.5)
    index = np.indices(array.shape) - (np.array(array.shape) / 2)[:, None, None, None]
    inside = ((index / np.array([17, 20, 16])[:, None, None, None]) ** 2).sum(0) < 1
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, 5, -8], degrees=True).as_matrix() * [-2.5, 2.5, 2.5]
    affine[:3, 3] = [60, -65, -50]
    lumps = (array / array.std() + 5) * gaussian_filter(inside.astype(float), 1)
    return Image(np.where(lumps > 0.2, lumps, 0).astype(np.float32), affine)


def motion(angles: tuple[float, ...], shift: tuple[float, ...], size: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(size)
    matrix[:3, 3] = shift
    return matrix


def error_mm(head: Image, found: Transform, matrix: np.ndarray) -> float:
    surface = np.argwhere(head.array > 1)[::50] @ head.affine[:3, :3].T + head.affine[:3, 3]
    return float(np.linalg.norm(found.map_points(surface) - linear(matrix).map_points(surface), axis=1).max())


@pytest.mark.parametrize(
    ("affine", "size"), [(False, (1.0, 1.0, 1.0)), (True, (1.06, 0.95, 1.03))], ids=["rigid", "affine"]
)
@pytest.mark.parametrize("invert", [False, True], ids=["same contrast", "other contrast"])
def test_a_head_is_found_from_afar(
    head: Image, affine: bool, size: tuple[float, float, float], invert: bool
) -> None:
    matrix = motion((9, -12, 14), (35, -28, 22), size)
    moved = Image(head.array, np.linalg.inv(matrix) @ head.affine)
    grid = Image(head.array, linear(motion((0, 0, 0), (-35, 28, -22), (1, 1, 1))).matrix @ head.affine).grid
    there = apply(moved, grid)
    if invert:
        there = there.with_array(np.where(there.array > 1, 12 - there.array, 0))
    found = align(head, there, affine=affine)
    assert error_mm(head, found, np.linalg.inv(matrix)) < 0.6  # a quarter of a voxel
    again = align(head, there, affine=affine)
    assert again.matrix.tobytes() == found.matrix.tobytes()


def test_a_search_goes_on_from_where_it_starts(head: Image) -> None:
    found = align(head, head, affine=True, initial=linear(motion((3, 0, 2), (2, 1, -2), (1, 1, 1))))
    assert error_mm(head, found, np.eye(4)) < 0.6


def test_images_that_cannot_be_aligned_are_refused(head: Image) -> None:
    far = Image(head.array, motion((0, 0, 0), (900, 0, 0), (1, 1, 1)) @ head.affine)
    with pytest.raises(ValueError, match="different parts"):
        align(head, far, affine=False, initial=Transform())
    with pytest.raises(ValueError, match="empty"):
        align(head, head.with_array(np.zeros_like(head.array)), affine=False)
    with pytest.raises(ValueError, match="not finite"):
        align(head, head.with_array(np.full_like(head.array, np.nan)), affine=False)
