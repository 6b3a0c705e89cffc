import numpy as np
import pytest

from qsmxt_app.group.volume_preserving_resampling import resample_preserving_volume
from qsmxt_app.registration import Grid, Image, Transform, linear

SHAPE = (14, 12, 10)


def shifted(x: float) -> Transform:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return linear(matrix)


def labels() -> np.ndarray:
    image = np.zeros(SHAPE, np.int32)
    image[4:6, 2:10, 2:8] = 2
    image[6:9, 2:10, 2:8] = 700
    image[10, 5, 5] = 3
    return image


def test_nothing_changes_on_the_own_grid() -> None:
    image = Image(labels(), np.eye(4))
    np.testing.assert_array_equal(resample_preserving_volume(image, image.grid, Transform()), labels())


@pytest.mark.parametrize("x", [0.5, -0.45, 1.3])
def test_thin_labels_keep_their_volume_and_their_place(x: float) -> None:
    image = Image(labels(), np.eye(4))
    warped = resample_preserving_volume(image, image.grid, shifted(x))
    for label in (2, 3, 700):
        before, after = (np.argwhere(one == label) for one in (labels(), warped))
        assert len(after) == len(before)
        # points of the grid lie x further in the labels
        assert after[:, 0].mean() == pytest.approx(before[:, 0].mean() - x, abs=0.51)


def test_volume_counts_not_voxels() -> None:
    fine = Image(labels(), np.diag([1.0, 1, 1, 1]))
    coarse = Grid((5, 4, 4), np.array([[3.0, 0, 0, 0.7], [0, 3, 0, 1], [0, 0, 3, 0.4], [0, 0, 0, 1]]))
    warped = resample_preserving_volume(fine, coarse, Transform())
    for label in (2, 700):
        assert (warped == label).sum() * 27 == pytest.approx((labels() == label).sum(), abs=14)
    # a thirtieth of a voxel is none
    assert (warped == 3).sum() == 0


def test_what_lies_outside_the_grid_is_left_out() -> None:
    image = Image(labels(), np.eye(4))
    assert not resample_preserving_volume(image, image.grid, shifted(50.0)).any()
    part = resample_preserving_volume(image, image.grid, shifted(5.0))
    assert (part == 2).sum() == 48
    assert not resample_preserving_volume(
        image.with_array(np.zeros(SHAPE, np.int32)), image.grid, Transform()
    ).any()
