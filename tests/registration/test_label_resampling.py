import numba
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from qsmxt_app.registration import Grid, Image, linear
from qsmxt_app.registration.label_resampling import resample_labels

IDENTITY = np.eye(4)


def resampled(labels, affine, shape, grid_affine, *, threshold=0.0, transform=None):
    found = resample_labels(Image(labels, affine), Grid(shape, grid_affine), transform)
    return np.where(found.fraction > threshold, found.labels.array, 0)


def shifted(shift):
    affine = np.eye(4)
    affine[0, 3] = shift
    return affine


def boxes():
    """Three labels far from each other in number, two of them side by side."""
    labels = np.zeros((24, 20, 18), np.int32)
    labels[4:12, 4:12, 3:15] = 7
    labels[12:20, 4:12, 3:15] = 2035
    labels[4:12, 14:17, 3:15] = 3
    return labels


def spheres(shape, affine, *, radius=9.0):
    """Two spheres that overlap, the first in front; truth for any grid."""
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    labels = np.zeros(shape, np.int32)
    for label, centre in ((2, (18.0, 15.0, 15.0)), (1, (10.0, 15.0, 15.0))):
        labels[((places - centre) ** 2).sum(axis=-1) < radius**2] = label
    return labels


def test_the_same_grid_gives_the_same_labels():
    labels = boxes()
    found = resample_labels(Image(labels, IDENTITY), Grid(labels.shape, IDENTITY))
    assert np.array_equal(found.labels.array, labels)
    assert np.all(found.fraction == 1)


@pytest.mark.parametrize("shift, moved", [(0.4, 0), (0.6, 1), (-0.6, -1)])
def test_a_shift_moves_the_border_to_the_nearest_voxel(shift, moved):
    labels = boxes()
    found = resampled(labels, IDENTITY, labels.shape, shifted(shift))
    assert np.array_equal(found, np.roll(labels, -moved, axis=0))
    # a transform says the same as the grid's affine: it maps points of the grid to those of the labels
    other_way = resampled(labels, IDENTITY, labels.shape, IDENTITY, transform=linear(shifted(shift)))
    assert np.array_equal(other_way, found)


def test_the_fraction_is_what_the_label_fills():
    labels = boxes()
    found = resample_labels(Image(labels, IDENTITY), Grid(labels.shape, shifted(0.3)))
    assert found.labels.array[3, 6, 6] == 0
    assert found.fraction[3, 6, 6] == pytest.approx(0.7)  # 0.3 of it is of the box that starts at 4
    assert found.fraction[5, 6, 6] == pytest.approx(1)


def test_of_voxels_shared_in_halves_the_lowest_label_wins():
    labels = boxes()
    found = resampled(labels, IDENTITY, labels.shape, shifted(0.5))
    # at 3.5 and 19.5 half is background, at 11.5 half is of either box
    assert list(np.flatnonzero(found[:, 6, 6] == 7)) == list(range(4, 12))
    assert list(np.flatnonzero(found[:, 6, 6] == 2035)) == list(range(12, 19))


def test_a_coarse_voxel_counts_all_that_it_holds():
    fine = np.zeros((12, 12, 12), np.int32)
    # 14 of the 27 voxels of the coarse voxel (1, 1, 1), but not the one at its centre
    block = np.ones(27, np.int32)
    block[[13, *range(12)]] = 0
    fine[3:6, 3:6, 3:6] = 5 * block.reshape(3, 3, 3)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = 1.0
    found = resample_labels(Image(fine, IDENTITY), Grid((4, 4, 4), affine))
    expected = np.zeros((4, 4, 4), np.int32)
    expected[1, 1, 1] = 5
    assert np.array_equal(found.labels.array, expected)
    assert found.fraction[1, 1, 1] == pytest.approx(14 / 27)


def test_the_volume_of_a_region_is_kept():
    fine_affine, affine = np.diag([0.5, 0.5, 0.5, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0])
    fine = spheres((60, 60, 60), fine_affine)
    found = resample_labels(Image(fine, fine_affine), Grid((15, 15, 15), affine))
    for label in (1, 2):
        volume = np.count_nonzero(found.labels.array == label) * 8
        assert volume == pytest.approx(np.count_nonzero(fine == label) / 8, rel=0.08)
    assert set(np.unique(found.labels.array)) == {0, 1, 2}


def test_a_turned_grid_sees_what_is_there():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix()
    centre = np.array([14.0, 15.0, 15.0])
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    fine_affine = np.diag([0.7, 0.7, 0.7, 1.0])
    labels = spheres((44, 44, 44), fine_affine)
    coarse_affine = turn @ np.diag([1.5, 1.2, 2.0, 1.0])
    shape = (20, 25, 15)
    found = resampled(labels, fine_affine, shape, coarse_affine)
    truth = spheres(shape, coarse_affine)
    for label in (1, 2):
        both = np.count_nonzero((found == label) & (truth == label))
        dice = 2 * both / (np.count_nonzero(found == label) + np.count_nonzero(truth == label))
        assert dice > 0.93


def test_outside_there_is_background():
    labels = np.full((6, 6, 6), 4, np.int32)
    found = resampled(labels, IDENTITY, (10, 6, 6), IDENTITY)
    assert np.all(found[:6] == 4)
    assert not found[6:].any()


def test_the_bytes_do_not_depend_on_the_threads():
    labels = Image(spheres((60, 60, 60), np.diag([0.5, 0.5, 0.5, 1.0])), np.diag([0.5, 0.5, 0.5, 1]))
    grid = Grid((22, 22, 22), np.diag([1.37, 1.37, 1.37, 1]))
    before = numba.get_num_threads()
    once = resample_labels(labels, grid)
    numba.set_num_threads(1)
    try:
        again = resample_labels(labels, grid)
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(once.labels.array, again.labels.array)
    assert np.array_equal(once.fraction, again.fraction)
