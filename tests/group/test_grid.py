import numpy as np
import pytest

from qsmxt_app.group.grid import box_of, common_resolution, grid_around


def test_grid_holds_every_voxel_of_every_mask_with_its_margin() -> None:
    mask = np.zeros((10, 12, 8), bool)
    mask[2:7, 3:9, 1:5] = True
    affine = np.array([[0, -2.0, 0, 30], [2.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    box = box_of(mask, affine)
    grid = grid_around([box], 1.5, margin_mm=4)
    corners = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    places = (corners - grid.affine[:3, 3]) / 1.5
    margin = 4 / 1.5
    assert places.min() >= margin
    assert (places <= np.array(grid.shape) - 1 - margin).all()
    # not much more than that
    assert (np.array(grid.shape) * 1.5 <= (box.high - box.low) + 2 * 4 + 4 * 1.5).all()


def test_one_more_participant_adds_whole_voxels_and_moves_none() -> None:
    mask, shift = np.ones((4, 4, 4), bool), np.eye(4)
    shift[0, 3] = 20.3
    one = grid_around([box_of(mask, np.eye(4))], 2.0)
    both = grid_around([box_of(mask, np.eye(4)), box_of(mask, shift)], 2.0)
    assert both.shape == (one.shape[0] + 10, *one.shape[1:])
    np.testing.assert_array_equal(one.affine, both.affine)
    assert (one.affine[:3, 3] % 2 == 0).all()


def test_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="empty"):
        box_of(np.zeros((2, 2, 2), bool), np.eye(4))


def test_resolution_is_that_of_the_middle_scan_whatever_its_shape() -> None:
    assert common_resolution([(1, 1, 1), (0.5, 0.5, 4), (3, 3, 3)]) == 1.0
    assert common_resolution([(0.7, 0.7, 1.4), (0.7, 0.7, 1.4)]) == 0.9
