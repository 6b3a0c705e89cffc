import numpy as np
import pytest
from scipy import ndimage

from qsmxt_app.qsm.morphology import (
    close_gaps,
    dilate,
    erode,
    fill_holes,
    fill_holes_in_slices,
    keep_components,
)

VOXELS = [(1.0, 1.0, 1.0), (0.5, 0.7, 2.0)]


@pytest.fixture
def blobs():
    random = np.random.default_rng(5)
    return ndimage.gaussian_filter(random.normal(size=(31, 28, 17)), 1.5) > 0.05


@pytest.mark.parametrize("voxel_size", VOXELS)
@pytest.mark.parametrize("radius", [0.4, 1.0, 2.3, 5.0])
def test_dilation_and_erosion_agree_with_the_distance_transform(blobs, voxel_size, radius):
    outside = ndimage.distance_transform_edt(~blobs, sampling=voxel_size)
    inside = ndimage.distance_transform_edt(blobs, sampling=voxel_size)
    np.testing.assert_array_equal(dilate(blobs, radius, voxel_size), outside <= radius + 1e-4)
    np.testing.assert_array_equal(erode(blobs, radius, voxel_size), inside > radius + 1e-4)


def test_erosion_keeps_the_face_that_the_field_of_view_cuts():
    eroded = erode(np.ones((6, 6, 6), bool), 2.0, (1, 1, 1))
    assert eroded.all()


def test_closing_bridges_what_is_narrower_than_the_ball_only():
    mask = np.ones((40, 30, 30), bool)
    mask[10:12] = False  # 2 mm: distance between its banks is 3 mm
    mask[20:32] = False
    closed = close_gaps(mask, 2.0, (1, 1, 1))
    assert closed[10:12, 8:22, 8:22].all()
    assert not closed[23:29].any()
    assert (closed | mask == closed).all()


def test_holes_are_filled_up_to_a_size():
    mask = np.ones((20, 20, 20), bool)
    mask[5:7, 5:7, 5:7] = False
    mask[10:15, 10:15, 10:15] = False
    mask[0, 3, 3] = False
    filled = fill_holes(mask, 50)
    assert filled[5:7, 5:7, 5:7].all()
    assert not filled[10:15, 10:15, 10:15].any()
    assert not filled[0, 3, 3]
    assert fill_holes(mask).sum() == mask.size - 1


def test_a_hole_with_a_way_out_is_filled_in_slices():
    mask = np.ones((30, 30, 30), bool)
    mask[10:15, 10:15, :15] = False  # a shaft that opens downwards
    assert not fill_holes(mask)[12, 12, 10]
    assert fill_holes_in_slices(mask, (25, 25, 25)).all()
    assert not fill_holes_in_slices(mask, (1000, 1000, 24))[12, 12, 10]  # 25 pixels in the slices across it


def test_a_groove_is_no_hole_in_slices():
    mask = np.ones((30, 30, 30), bool)
    mask[10:12, :, :5] = False
    np.testing.assert_array_equal(fill_holes_in_slices(mask, (100, 100, 100)), mask)


def test_components_by_size():
    mask = np.zeros((20, 10, 10), bool)
    mask[1:3, 1:3, 1:3] = True
    mask[5:10, 2:7, 2:7] = True
    mask[12:16, 2:6, 2:6] = True
    assert keep_components(mask).sum() == 125
    assert keep_components(mask, count=2).sum() == 125 + 64
    assert keep_components(mask, count=5, min_fraction=0.1).sum() == 125 + 64
    assert keep_components(mask, count=5).sum() == mask.sum()
