import numpy as np
import pytest

from qsmxt_app.qsm.mask_checks import edge_shares, extent_warnings, flat_faces

SHAPE = (40, 44, 36)
GRID = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2


def ball(centre=(0, 0, 0), radii=(16, 18, 14)):
    scaled = (GRID - np.array(centre)[:, None, None, None]) / np.array(radii)[:, None, None, None]
    return (scaled**2).sum(axis=0) < 1


def signal(mask):
    return np.where(mask, 100.0, 2.0)


def test_a_round_object_is_whole():
    assert flat_faces(ball(), signal(ball())) == ()
    assert extent_warnings(ball(), signal(ball())) == ()


@pytest.mark.parametrize("side", range(6))
@pytest.mark.parametrize("erased", [False, True])
def test_a_cut_is_told_from_a_missing_part(side, erased):
    axis = side % 3
    mask = ball()
    index = [slice(None)] * 3
    index[axis] = slice(0, SHAPE[axis] // 2) if side < 3 else slice(SHAPE[axis] // 2, None)
    mask[tuple(index)] = False
    (cut,) = flat_faces(mask, signal(mask if erased else ball()))
    assert cut.side == side
    assert cut.share == pytest.approx(1.0)
    assert cut.signal == pytest.approx(0.02 if erased else 1.0)
    (told,) = extent_warnings(mask, signal(mask if erased else ball()))
    assert told.startswith("Part of the object is missing" if erased else "The mask is cut off")
    assert f"axis {'ijk'[axis]}" in told


def test_half_a_head_in_the_image_is_noticed_but_no_neck_slab_or_crop():
    whole = ball()
    for axis in range(2):
        half = np.take(whole, range(SHAPE[axis] // 2, SHAPE[axis]), axis)
        assert extent_warnings(half, signal(half))[0].startswith("About half of the head")
    upper = whole[:, :, SHAPE[2] // 2 :]
    assert extent_warnings(upper, signal(upper)) == ()
    # the same image with its slices counted from the head down
    assert extent_warnings(upper[:, :, ::-1], signal(upper[:, :, ::-1]), (0.0, 0.1, -0.99)) == ()
    assert extent_warnings(upper[:, :, ::-1], signal(upper[:, :, ::-1]))[0].startswith("About half")
    for part in (whole[:, :, 14:22], whole[12:28, 12:32, 10:26]):
        assert extent_warnings(part, signal(part)) == ()


def test_shares_at_the_edges_are_of_the_largest_section():
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 1:3, 1:3] = True
    mask[1, 1:5, 1:5] = True
    np.testing.assert_allclose(edge_shares(mask), [0.25, 0, 0, 0, 0, 0])
    assert edge_shares(np.zeros((3, 3, 3), bool)).sum() == 0


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="one shape"):
        flat_faces(ball(), np.ones((3, 3, 3)))
