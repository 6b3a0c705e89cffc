import numpy as np
import pytest
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from qsmxt_app.group.shape import MeanDisplacement, centred, mean_affine, merged
from qsmxt_app.registration import Linear, Transform, Warp
from qsmxt_app.registration.transform_files import invert_displacement


def turned(degrees: float, shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def test_mean_of_rotations_about_one_axis_is_the_mean_angle() -> None:
    np.testing.assert_allclose(mean_affine([turned(10), turned(50), turned(0)]), turned(20), atol=1e-12)


def test_mean_of_sizes_is_geometric() -> None:
    sizes = [np.diag([s, 1, 1, 1.0]) for s in (0.8, 1.25)]
    np.testing.assert_allclose(mean_affine(sizes), np.eye(4), atol=1e-12)


def test_mean_of_inverses_is_the_inverse_of_the_mean() -> None:
    rng = np.random.default_rng(3)
    matrices = [expm(np.vstack([rng.normal(0, 0.1, (3, 4)), np.zeros(4)])) for _ in range(5)]
    inverse = mean_affine([np.linalg.inv(matrix) for matrix in matrices])
    np.testing.assert_allclose(inverse @ mean_affine(matrices), np.eye(4), atol=1e-10)


def test_centred_transforms_mean_nothing_and_keep_everybody_where_they_are_to_each_other() -> None:
    matrices = [turned(4, (10, 0, 3)), turned(-2, (12, 1, 0)), turned(9, (8, -4, 2))]
    middle = centred(matrices)
    np.testing.assert_allclose(mean_affine(middle), np.eye(4), atol=0.02)
    between = matrices[1] @ np.linalg.inv(matrices[0])
    np.testing.assert_allclose(middle[1] @ np.linalg.inv(middle[0]), between, atol=1e-10)


def test_a_single_participant_stays_where_it_is() -> None:
    np.testing.assert_allclose(centred([turned(30, (5, 6, 7))])[0], np.eye(4), atol=1e-12)


@pytest.mark.parametrize("wrong", [[], [np.diag([-1.0, 1, 1, 1])]])
def test_refuses_what_has_no_mean(wrong: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="transform"):
        mean_affine(wrong)


def test_mean_displacement() -> None:
    mean = MeanDisplacement((2, 2, 2))
    mean.add(np.full((2, 2, 2, 3), 1.0, np.float32))
    mean.add(np.full((2, 2, 2, 3), 4.0, np.float32))
    np.testing.assert_array_equal(mean.mean, np.full((2, 2, 2, 3), 2.5))


def smooth_warp(seed: int, affine: np.ndarray) -> Warp:
    rng = np.random.default_rng(seed)
    field = np.stack([gaussian_filter(rng.normal(size=(30, 32, 28)), 5) for _ in range(3)], axis=-1)
    field = (field / np.abs(field).max() * 4).astype(np.float32)
    field *= np.hanning(30)[:, None, None, None] * np.hanning(32)[:, None, None] * np.hanning(28)[:, None]
    return Warp(field, invert_displacement(field, affine), affine)


def test_two_warps_become_one_that_goes_the_same_way_and_back() -> None:
    affine = np.array([[2.0, 0, 0, -30], [0, 2, 0, -32], [0, 0, 2, -28], [0, 0, 0, 1]])
    chain = Transform((smooth_warp(1, affine), smooth_warp(2, affine), Linear(turned(5, (1, 2, 3)))))
    one = merged(chain)
    assert [type(step) for step in one.steps] == [Warp, Linear]
    points = np.random.default_rng(0).uniform(-20, 20, (500, 3))
    moved = np.linalg.norm(chain.map_points(points) - chain.steps[-1].map_points(points), axis=-1)
    assert moved.max() > 1
    assert np.abs(one.map_points(points) - chain.map_points(points)).max() < 0.05
    back = one.inverse().map_points(points)
    assert np.abs(back - chain.inverse().map_points(points)).max() < 0.05


def test_warps_of_different_grids_stay_apart() -> None:
    affine = np.diag([2.0, 2, 2, 1])
    chain = Transform((smooth_warp(1, affine), smooth_warp(2, affine + np.eye(4, k=3))))
    assert merged(chain).steps == chain.steps
