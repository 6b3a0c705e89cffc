import numpy as np

from qsmxt_app.registration import Grid, Image, Transform, linear
from qsmxt_app.segment.scan_labels import labels_on_scan

FINE, COARSE = np.eye(4), np.diag([2.0, 2.0, 2.0, 1.0])
COARSE[:3, 3] = 0.5  # the middle of two fine voxels


def head():
    labels = np.zeros((40, 40, 40), np.int32)
    labels[8:32, 8:32, 8:32] = 16
    labels[12:20, 12:20, 12:20] = 303
    return Image(labels, FINE)


def test_a_voxel_of_the_scan_needs_enough_of_a_label():
    grid = Grid((20, 20, 20), COARSE)
    whole = labels_on_scan(head(), Transform(), grid)
    assert np.count_nonzero(whole == 303) == 4**3
    assert np.count_nonzero(whole) == 12**3
    shifted = Grid((20, 20, 20), COARSE + np.eye(4, k=3)[:, :] * 0)
    shifted.affine[0, 3] += 0.5  # a quarter of a voxel: shares of 0.75 and 0.25 at the borders along x
    assert np.count_nonzero(labels_on_scan(head(), Transform(), shifted)) == 12**3
    strict = labels_on_scan(head(), Transform(), shifted, threshold=0.8)
    # one layer less, and where both labels meet one layer of voxels that hold both
    assert np.count_nonzero(strict) == 11 * 12**2 - 2 * 4**2


def test_labels_follow_the_scan_that_has_moved():
    move = np.eye(4)
    move[:3, 3] = [4, -2, 6]  # points of the scan to points of the labels
    moved = labels_on_scan(head(), linear(move), Grid((20, 20, 20), COARSE))
    still = labels_on_scan(head(), Transform(), Grid((20, 20, 20), COARSE))
    assert np.array_equal(moved, np.roll(still, (-2, 1, -3), axis=(0, 1, 2)))


def test_what_the_scan_itself_shows_goes_before():
    nuclei = np.zeros((40, 40, 40), np.int32)
    nuclei[16:24, 12:20, 12:20] = 303  # 4 mm further to the right than the other labels have it
    found = labels_on_scan(
        head(),
        Transform(),
        Grid((20, 20, 20), COARSE),
        nuclei=Image(nuclei, FINE),
        nuclei_to_scan=Transform(),
    )
    assert np.array_equal(np.unique(np.argwhere(found == 303)[:, 0]), [8, 9, 10, 11])
    assert np.count_nonzero(found == 303) == 4**3
    # what the nucleus has left belongs to what lies around it
    assert (found[6:8, 6:10, 6:10] == 16).all()
    assert np.count_nonzero(found == 16) == 12**3 - 4**3
