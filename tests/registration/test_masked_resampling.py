"""Maps in a mask on another grid: a known shift, and edges that nothing outside pulls down."""

import numpy as np
import pytest

from qsmxt_app.registration import Image
from qsmxt_app.registration.masked_resampling import resample_in_mask, resample_mask
from qsmxt_app.registration.transforms import Transform, Warp, linear

AFFINE = np.array([[0, -2.0, 0, 30], [1.5, 0, 0, -20], [0, 0, 1.0, 5], [0, 0, 0, 1]])
SHAPE = (28, 20, 36)
RADIUS = 11.0


def world(shape, affine):
    index = np.moveaxis(np.indices(shape), 0, -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


CENTRE = world(SHAPE, AFFINE)[14, 10, 18]


def values_at(points):
    """A map that is far from zero: 3 + a slope."""
    return (3 + (points - CENTRE) @ [0.02, -0.03, 0.05]).astype(np.float32)


def ball(points):
    return np.linalg.norm(points - CENTRE, axis=-1) < RADIUS


@pytest.fixture
def map_and_mask():
    points = world(SHAPE, AFFINE)
    inside = ball(points)
    return Image(np.where(inside, values_at(points), 0), AFFINE), Image(inside, AFFINE)


def shift(by):
    matrix = np.eye(4)
    matrix[:3, 3] = np.negative(by)  # points of the target are looked up where the head was
    return linear(matrix)


def displaced(by):
    """Return the same as `shift`, as a displacement field."""
    field = np.broadcast_to(np.negative(by).astype(np.float32), (40, 40, 40, 3))
    grid = np.diag([4.0, 4.0, 4.0, 1.0])
    grid[:3, 3] = CENTRE - 80
    return Transform((Warp(np.ascontiguousarray(field), np.ascontiguousarray(-field), grid),))


@pytest.mark.parametrize("make", [shift, displaced])
def test_a_shifted_head_has_its_values_where_it_went(map_and_mask, make):
    by = np.array([6.0, -4.5, 3.0])
    values, mask = map_and_mask
    grid = Image(np.zeros((40, 41, 42)), np.diag([1.0, 1.0, 1.0, 1.0])).grid
    grid.affine[:3, 3] = CENTRE - 20
    found = resample_in_mask(values, mask, grid, make(by))
    kept = resample_mask(mask, grid, make(by)).array
    points = world(grid.shape, grid.affine) - by
    surely = np.linalg.norm(points - CENTRE, axis=-1) < RADIUS - 2
    assert kept[surely].all()
    assert not kept[np.linalg.norm(points - CENTRE, axis=-1) > RADIUS + 2].any()
    # a spline gives a plane back wherever no value beyond the edge takes part
    deep = np.linalg.norm(points - CENTRE, axis=-1) < RADIUS - 7
    np.testing.assert_allclose(found.array[deep], values_at(points)[deep], atol=5e-3)
    # the zeros outside would give 1.5 at the edge
    assert np.abs(found.array - values_at(points))[kept].max() < 0.2
    assert (found.array[~kept] == 0).all()


def test_a_map_on_its_own_grid_stays_as_it_is(map_and_mask):
    values, mask = map_and_mask
    np.testing.assert_allclose(resample_in_mask(values, mask, values.grid).array, values.array, atol=1e-5)


def test_an_empty_mask_is_refused(map_and_mask):
    values, mask = map_and_mask
    with pytest.raises(ValueError, match="empty"):
        resample_in_mask(values, Image(np.zeros_like(mask.array), AFFINE), values.grid)
