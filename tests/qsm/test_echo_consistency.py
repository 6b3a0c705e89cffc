"""What single echoes have beside the phase of the field."""

import numpy as np
import pytest
from echo_phantom import echo_phantom

from qsmxt_app.qsm.echo_consistency import consistent_echoes, echo_planes, without_planes
from qsmxt_app.qsm.field import fit_total_field

TIMES = [0.004, 0.009, 0.014, 0.019, 0.024]


def turned(phase, echoes, planes):
    """Phase with planes added to echoes: constant, and slopes in rad a voxel."""
    out = phase.astype(float).copy()
    grid = np.meshgrid(*(np.arange(n) - n / 2 for n in phase.shape[:3]), indexing="ij")
    for echo, (constant, *slopes) in zip(echoes, planes, strict=True):
        out[..., echo] += constant + sum(s * g for s, g in zip(slopes, grid, strict=True))
    return np.angle(np.exp(1j * out)).astype(np.float32)


@pytest.fixture(scope="module")
def phantom():
    return echo_phantom(TIMES, size=32, noise_level=0.02)


def found(phantom, phase):
    return consistent_echoes(phantom.magnitude, phase, phantom.echo_times, mask=phantom.mask)


def test_consistent_echoes_stay_as_they_are(phantom):
    phase, bipolar, warnings = found(phantom, phantom.phase)
    assert phase is phantom.phase
    assert (bipolar, warnings) == (False, ())


@pytest.mark.parametrize("plane", [(0.4, 0.02, 0, 0), (0.0, 0.1, 0, 0), (-2.0, 0, 0.05, 0), (0.3, 0, 0, 0)])
def test_a_bipolar_readout_is_found_in_the_phase(phantom, plane):
    phase, bipolar, (warning,) = found(phantom, turned(phantom.phase, (1, 3), [plane, plane]))
    assert bipolar
    assert "--bipolar no" in warning
    np.testing.assert_array_equal(phase, turned(phantom.phase, (1, 3), [plane, plane]))


@pytest.mark.parametrize(
    "planes",
    [
        [(1.5, 0, 0, 0), (-2.2, 0, 0, 0), (2.9, 0, 0, 0), (0.4, 0, 0, 0)],
        [(0, 0, 0, 0), (1.0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)],
        [(0.5, 0.03, 0, 0), (0, 0, -0.05, 0), (-1.0, 0, 0, 0), (0.2, 0, 0.02, 0.01)],
    ],
)
def test_constants_and_slopes_of_single_echoes_are_removed(phantom, planes):
    phase, bipolar, (warning,) = found(phantom, turned(phantom.phase, (1, 2, 3, 4), planes))
    assert not bipolar
    assert "no field explains" in warning
    # what is left grows with the echo time, and so is a harmonic field: a plane
    field = fit_total_field(
        phantom.magnitude, phase, phantom.echo_times, mask=phantom.mask, voxel_size=phantom.voxel_size
    ).total_field
    truth = fit_total_field(
        phantom.magnitude, phantom.phase, phantom.echo_times, mask=phantom.mask, voxel_size=phantom.voxel_size
    ).total_field
    difference = (field - truth)[phantom.mask]
    where = np.argwhere(phantom.mask)
    design = np.column_stack([where, np.ones(len(where))])
    rest = difference - design @ np.linalg.lstsq(design, difference, rcond=None)[0]
    assert np.percentile(abs(rest), 95) < 0.05 * np.std(truth[phantom.mask])


def test_planes_are_those_that_were_added_but_for_what_grows_with_time(phantom):
    planes = [(0.0, 0, 0, 0), (0.9, 0.03, 0, 0), (0, 0, 0, 0), (0, 0, 0.02, 0)]
    estimate = echo_planes(
        phantom.magnitude, turned(phantom.phase, (1, 2, 3, 4), planes), TIMES, mask=phantom.mask
    )
    added = np.array([(0.0, 0, 0), *(p[1:] for p in planes)])
    np.testing.assert_allclose(np.diff(estimate.slopes, 2, axis=0), np.diff(added, 2, axis=0), atol=2e-3)
    assert without_planes(phantom.phase, estimate).shape == phantom.phase.shape


def test_nothing_is_said_where_echoes_are_too_few_or_unevenly_spaced(phantom):
    wrong = turned(phantom.phase, (1,), [(1.0, 0, 0, 0)])
    uneven = [0.004, 0.009, 0.015, 0.019, 0.024]
    assert echo_planes(phantom.magnitude, wrong, uneven, mask=phantom.mask) is None
    two = (phantom.magnitude[..., :2], wrong[..., :2], TIMES[:2])
    assert echo_planes(*two, mask=phantom.mask) is None
