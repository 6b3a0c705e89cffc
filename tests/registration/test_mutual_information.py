from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from qsmxt_app.registration import Image, Transform, apply, linear
from qsmxt_app.registration.mutual_information import Level, _Metric, register_linear

LEVELS = (Level(2, 1.0), Level(1, 0.5))


@pytest.fixture(scope="module")
def blob() -> Image:
    """A lumpy head of 2.5 mm with nothing at the edge."""
    array = gaussian_filter(np.random.default_rng(0).standard_normal((36, 40, 34)), 2.5)
    index = np.indices(array.shape) - (np.array(array.shape) / 2)[:, None, None, None]
    inside = ((index / np.array([11, 13, 10])[:, None, None, None]) ** 2).sum(0) < 1
    affine = np.diag([-2.5, 2.5, 2.5, 1.0])
    affine[:3, 3] = [40, -45, -30]
    blurred = gaussian_filter(inside.astype(float), 1)
    return Image(((array / array.std() + 5) * blurred).astype(np.float32), affine)


def corners(image: Image) -> np.ndarray:
    middle = (image.affine @ [*(np.array(image.array.shape) / 2), 1])[:3]
    return np.asarray(middle + np.array([[20, 0, 0], [0, 25, 0], [0, 0, 20], [-15, -15, -10]]))


def moved_head(blob: Image, matrix: np.ndarray) -> Image:
    moved = apply(blob, blob.grid, linear(matrix).inverse(), "bspline")
    return moved.with_array(np.where(moved.array > 1, 12 - moved.array, 0).astype(np.float32))


@pytest.mark.parametrize("affine", [False, True])
def test_the_gradient_is_that_of_finite_differences(blob: Image, affine: bool) -> None:
    metric = _Metric.of(blob, moved_head(blob, np.eye(4)), blob.array > 1, Transform(), Level(affine=affine))
    assert metric is not None
    here = np.random.default_rng(1).standard_normal(12 if affine else 6)
    expected = [
        (metric.evaluate(here + step)[0] - metric.evaluate(here - step)[0]) / 2e-4
        for step in 1e-4 * np.eye(here.size)
    ]
    np.testing.assert_allclose(metric.evaluate(here)[1], expected, atol=1e-4)


@pytest.mark.parametrize("affine", [False, True])
def test_a_motion_is_found_in_another_contrast(blob: Image, affine: bool) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (4, -6, 8), degrees=True).as_matrix()
    if affine:
        matrix[:3, :3] = matrix[:3, :3] @ np.diag([1.06, 0.95, 1.03])
    matrix[:3, 3] = (5, -7, 3)
    moved, mask = moved_head(blob, matrix), blob.array > 0.3
    levels = [*LEVELS, *(Level(1, 0.5, affine=True) for _ in range(affine))]
    found = register_linear(blob, moved, mask, Transform(), levels)
    points = corners(blob)
    error = np.linalg.norm(found.map_points(points) - linear(matrix).map_points(points), axis=-1)
    assert error.max() < 0.6  # a quarter of a voxel
    again = register_linear(blob, moved, mask, Transform(), levels)
    assert again.matrix.tobytes() == found.matrix.tobytes()


def test_images_with_nothing_in_common_stay(blob: Image) -> None:
    far = Image(blob.array, blob.affine + np.array([[0, 0, 0, 500], *[[0] * 4] * 3]))
    mask = blob.array > 0.3
    assert np.array_equal(register_linear(blob, far, mask, Transform(), LEVELS).matrix, np.eye(4))
    nothing = register_linear(blob, far, np.zeros_like(mask), Transform(), LEVELS)
    assert np.array_equal(nothing.matrix, np.eye(4))
