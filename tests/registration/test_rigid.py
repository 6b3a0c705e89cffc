import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from qsmxt_app.registration import Grid, Image, Transform, apply, linear
from qsmxt_app.registration.rigid import local_correlation, refine_rigid

MIDDLE = np.array([46.0, 46.0, 46.0])


def motion(degrees: list[float], shift: list[float]) -> Transform:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = MIDDLE + shift - matrix[:3, :3] @ MIDDLE
    return linear(matrix)


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image, np.ndarray, Transform]:
    """One pattern, turned and moved; the second time with the contrast upside down, shaded and with noise."""
    rng = np.random.default_rng(3)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    pattern = gaussian_filter(rng.standard_normal((47, 47, 47)), 1.6)
    pattern = Image((pattern / pattern.std()).astype(np.float32), affine)
    truth = motion([4, -3, 5], [2.5, -1.5, 3])
    fixed = apply(pattern, Grid((47, 47, 47), affine), truth, "bspline")
    shade = np.exp(np.linspace(-0.5, 0.5, 47))[:, None, None]
    moving = (4 - pattern.array) * shade + 0.2 * rng.standard_normal(shade.shape)
    where = np.zeros((47, 47, 47), bool)
    where[7:-7, 7:-7, 7:-7] = True
    return fixed, pattern.with_array(moving.astype(np.float32)), where, truth


def error_mm(found: Transform, truth: Transform) -> float:
    points = MIDDLE + 30 * np.concatenate([np.eye(3), -np.eye(3)])
    return float(np.linalg.norm(found.map_points(points) - truth.map_points(points), axis=1).max())


@pytest.mark.parametrize("seen", [slice(None), slice(16, 30)], ids=["whole", "slab"])
def test_images_come_together_whatever_shading_and_contrast(
    seen: slice, pair: tuple[Image, Image, np.ndarray, Transform]
) -> None:
    fixed, moving, where, truth = pair
    affine = moving.affine.copy()
    affine[2, 3] += 2.0 * (seen.start or 0)
    part = Image(moving.array[:, :, seen], affine)
    start = truth.then(motion([-2, 2, 1.5], [-1, 1.5, 1]))
    assert error_mm(start, truth) > 2
    found = refine_rigid(fixed, part, where, start)
    assert error_mm(found, truth) < 0.2  # a tenth of a voxel
    assert local_correlation(fixed, part, where, found) > local_correlation(fixed, part, where, start) + 0.2


def test_what_lies_right_stays_and_what_is_not_seen_is_not_alike(
    pair: tuple[Image, Image, np.ndarray, Transform],
) -> None:
    fixed, _, where, _ = pair
    np.testing.assert_array_equal(refine_rigid(fixed, fixed, where, Transform()).matrix, np.eye(4))
    assert local_correlation(fixed, fixed, where, motion([0, 0, 0], [90, 0, 0])) == 0
