"""Where voxels lie, how a head moves, and the random fields that make people differ."""

import numpy as np
import pytest

from qsmxt_app.simulate.geometry import VIEW_CENTRE, rotation_onto_z, scan_grid
from qsmxt_app.simulate.structural import _motion
from qsmxt_app.simulate.volume import random_field

DIRECTIONS = [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -1, 0), (0.36, 0.48, -0.8)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_rotation_brings_b0_onto_z(direction):
    rotation = rotation_onto_z(np.array(direction, float))
    np.testing.assert_allclose(rotation @ direction, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_fine_voxels_fill_those_of_the_scan(direction):
    grid = scan_grid((2.0, 1.5, 3.0), direction)
    subdivision = np.array(grid.subdivision)
    np.testing.assert_allclose(grid.fine_steps * subdivision, grid.affine[:3, :3], atol=1e-12)
    voxel = np.array([3, 5, 2])
    first = grid.fine_origin + grid.fine_steps @ (voxel * subdivision)
    last = grid.fine_origin + grid.fine_steps @ ((voxel + 1) * subdivision - 1)
    centre = grid.affine[:3, :3] @ voxel + grid.affine[:3, 3]
    np.testing.assert_allclose((first + last) / 2, centre, atol=1e-9)
    middle = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    np.testing.assert_allclose(middle, VIEW_CENTRE, atol=1e-9)


def test_a_head_moves_by_some_degrees_and_millimetres_between_scans():
    angles, shifts = [], []
    for seed in range(40):
        motion = _motion(np.random.default_rng(seed))
        np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-12)
        angles.append(np.degrees(np.arccos((np.trace(motion[:3, :3]) - 1) / 2)))
        shifts.append(motion[:3, :3] @ VIEW_CENTRE + motion[:3, 3] - VIEW_CENTRE)
    assert 4 < np.median(angles) < max(angles) < 8 * np.sqrt(3)
    assert 5 < abs(np.array(shifts)).max() <= 6


def test_a_random_field_has_the_correlation_of_its_gaussian():
    """White noise smoothed with a Gaussian of s mm correlates by exp(-d^2 / 4 s^2) over d mm."""
    box = np.zeros(3), np.full(3, 118.0)
    field = random_field(np.random.default_rng(0), box, 2.0, 6.0)
    assert field.data.mean() == pytest.approx(0, abs=1e-5)
    assert field.data.std() == pytest.approx(1, abs=1e-5)
    for axis in range(3):
        for steps in (2, 4):
            shifted = np.roll(field.data, steps, axis)
            expected = np.exp(-((2.0 * steps) ** 2) / (4 * 6.0**2))
            assert (field.data * shifted).mean() == pytest.approx(expected, abs=0.05)
