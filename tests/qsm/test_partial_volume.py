"""The error of a field whose signal is not centred in its voxel, against voxels made of many small ones."""

import numpy as np
import pytest

from qsmxt_app.qsm.partial_volume import centroid_error

FINE = 64
SLOPE = 3.0


def scanned(fine_magnitude):
    """Field and magnitude that a scan sees along a line of voxels whose field rises by SLOPE Hz a voxel."""
    fine = fine_magnitude.reshape(-1, FINE)
    position = (np.arange(fine_magnitude.size) + 0.5).reshape(-1, FINE) / FINE - 0.5
    magnitude = fine.mean(axis=1)
    return (fine * SLOPE * position).sum(axis=1) / fine.sum(axis=1), magnitude


def claimed(field, magnitude, axis=0, period=1000.0):
    shape = [1, 1, 1]
    shape[axis] = -1
    volume = [np.broadcast_to(a.reshape(shape), (7, 7, 7)).astype(np.float32) for a in (field, magnitude)]
    return centroid_error(volume[0], period, volume[1])[3, 3, 3]


@pytest.mark.parametrize("decay", [0.1, 0.5, 1.5])
def test_steady_fall_of_magnitude(decay):
    field, magnitude = scanned(np.exp(-decay * np.arange(7 * FINE) / FINE))
    actual = abs(field[3] - 3 * SLOPE)
    assert actual < claimed(field, magnitude) < 3 * actual


@pytest.mark.parametrize("filled", [0.2, 0.5, 0.8])
def test_edge_through_a_voxel(filled):
    edge = np.arange(7 * FINE) / FINE < 3 + filled
    field, magnitude = scanned(np.where(edge, 1.0, 1e-3))
    actual = abs(field[3] - 3 * SLOPE)
    steps = np.abs(np.diff(field[2:5]))
    assert actual / 3 < claimed(field, magnitude) <= 1.001 * steps.max() / 2


def test_no_error_where_field_or_magnitude_is_even():
    ramp = np.arange(7.0)
    assert claimed(ramp, np.ones(7)) == 0
    assert claimed(np.ones(7), np.exp(ramp)) == 0


def test_what_was_cut_off_tells_nothing():
    ramp, magnitude = np.arange(7.0), np.ones(7)
    magnitude[4:] = 1e-3
    assert claimed(ramp, magnitude) == pytest.approx(0.5)
    magnitude[4:] = 0
    assert claimed(ramp, magnitude) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_wraps_and_axes_make_no_difference(axis):
    ramp, magnitude = 30 * np.arange(7.0), np.exp(-0.3 * np.arange(7.0))
    wrapped = (ramp + 50) % 100 - 50
    expected = 30 * 0.3 / 6
    assert claimed(wrapped, magnitude, axis, period=100.0) == pytest.approx(expected, rel=1e-4)


def test_voxels_without_signal_do_not_break_it():
    magnitude = np.zeros((5, 5, 5), np.float32)
    field = np.random.default_rng(3).normal(size=(5, 5, 5)).astype(np.float32)
    assert np.all(centroid_error(field, 100.0, magnitude) == 0)
    magnitude[2, 2, 2] = 1
    assert np.isfinite(centroid_error(field, 100.0, magnitude)).all()
