"""Maps that are known inside a mask."""

import numpy as np

from qsmxt_app.group.masked import apply_masked
from qsmxt_app.registration import Grid, Image, linear

SHAPE = (24, 22, 20)
MOVED = linear(np.array([[1, 0, 0, 0.4], [0, 1, 0, 0.4], [0, 0, 1, 0.4], [0, 0, 0, 1.0]]))


def distance(centre: tuple[float, float, float]) -> np.ndarray:
    points = np.moveaxis(np.indices(SHAPE, dtype=float), 0, -1)
    return np.linalg.norm(points - centre, axis=-1)


def test_a_nucleus_of_a_few_voxels_keeps_its_height() -> None:
    nucleus = 0.1 * np.exp(-0.5 * (distance((12, 11, 10)) / 1.3) ** 2)
    truth = 0.1 * np.exp(-0.5 * (distance((11.6, 10.6, 9.6)) / 1.3) ** 2)
    mask = distance((12, 11, 10)) < 9
    found, known = apply_masked(Image(nucleus, np.eye(4)), mask, Grid(SHAPE, np.eye(4)), MOVED)
    where = known & (truth > 0.02)
    assert where.sum() > 20
    # linear interpolation between voxels would be off by 0.015
    np.testing.assert_allclose(found[where], truth[where], atol=0.002)


def test_nothing_outside_the_mask_is_seen_inside() -> None:
    mask = distance((12, 11, 10)) < 8
    grid = Grid(SHAPE, np.eye(4))
    for outside in (0.0, 1e6):
        image = Image(np.where(mask, 0.05, outside), np.eye(4))
        found, known = apply_masked(image, mask, grid, MOVED)
        np.testing.assert_allclose(found[known], 0.05, rtol=1e-6)
        assert not found[~known].any()
    assert abs(known.sum() / mask.sum() - 1) < 0.05


def test_no_value_lies_beyond_those_of_the_map_and_an_empty_mask_gives_nothing() -> None:
    step = np.where(np.arange(SHAPE[0])[:, None, None] < 12, 1.0, 0.0) * np.ones(SHAPE)
    everywhere = np.ones(SHAPE, bool)
    found, known = apply_masked(Image(step, np.eye(4)), everywhere, Grid(SHAPE, np.eye(4)), MOVED)
    assert found[known].min() == 0
    assert found.max() == 1
    found, known = apply_masked(Image(step, np.eye(4)), ~everywhere, Grid(SHAPE, np.eye(4)), MOVED)
    assert not known.any()
    assert not found.any()
