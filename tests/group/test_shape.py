import numpy as np
import pytest
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from qsmxt_app.group.shape import MeanDisplacement, centred, mean_affine


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
