"""Simulated scans: signal, noise, phase, and what two scans of one person share.

That two calls give the same bytes is tested where they are written (`test_dataset.py`).
"""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, map_coordinates

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.simulate import DEEP_GREY_NUCLEI, Protocol
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.geometry import scan_grid
from qsmxt_app.simulate.tissues import LABELS


def wrapped(phase):
    return np.angle(np.exp(1j * phase))


def quiet(subject, gradient=3.0):
    """Voxels deep in the brain where the field changes little from voxel to voxel, in Hz."""
    truth = subject.truth
    steep = sum(abs(g) for g in np.gradient(truth.total_field))
    return binary_erosion(truth.brain_mask, iterations=2) & (steep < gradient)


def test_noise_is_as_asked(scans):
    scan = scans.oblique
    signal = scan.magnitude * np.exp(1j * scan.phase)
    air = binary_erosion(scan.truth.labels == 0, iterations=2)
    level = scan.magnitude[..., 0][scan.truth.brain_mask].mean()
    for echo in range(5):
        values = signal[air][:, echo]
        tolerance = 4 / np.sqrt(2 * values.size)
        assert values.real.std() == pytest.approx(level / 40, rel=tolerance)
        assert values.imag.std() == pytest.approx(level / 40, rel=tolerance)
        assert abs(values.mean()) < 6 * level / 40 / np.sqrt(values.size)
    correlation = np.corrcoef(np.stack([signal[air][:, e].real for e in range(5)]))
    assert abs(correlation - np.eye(5)).max() < 5 / np.sqrt(air.sum())


def test_magnitude_decays_with_r2star(scans):
    scan = scans.straight
    where = quiet(scan)
    assert where.sum() > 1000
    logarithm = np.log(scan.magnitude[where])
    slope = np.polyfit(scan.echo_times, logarithm.T, 1)[0]
    difference = -slope - scan.truth.r2star[where]
    # partial volume and what is left of the field's gradients bend the decay a little
    assert abs(np.median(difference)) < 0.2
    assert np.percentile(abs(difference), 90) < 1.0


def test_phase_grows_with_the_true_field_from_the_true_offset(scans):
    scan = scans.straight
    where = quiet(scan)
    for echo, echo_time in enumerate(scan.echo_times):
        model = 2 * np.pi * scan.truth.total_field * echo_time + scan.truth.offset
        error = wrapped(scan.phase[..., echo] - model)[where]
        assert abs(np.median(error)) < 0.005
        assert np.percentile(abs(error), 90) < 0.05


def test_bipolar_readout_adds_a_line_along_x_to_even_echoes_only(scans):
    added = wrapped(scans.bipolar.phase - scans.straight.phase)
    strong = scans.straight.magnitude.min(-1) > 100
    for echo in (0, 2, 4):
        assert abs(added[strong][:, echo]).max() < 1e-3
    np.testing.assert_allclose(wrapped(added[..., 1] - added[..., 3])[strong], 0, atol=1e-3)
    x = np.linspace(-1, 1, added.shape[0])
    profile = [
        np.angle(np.exp(1j * added[i, :, :, 1][strong[i]]).mean()) if strong[i].any() else np.nan
        for i in range(len(x))
    ]
    profile = np.unwrap(np.array(profile)[strong.any((1, 2))])
    slope, constant = np.polyfit(x[strong.any((1, 2))], profile, 1)
    np.testing.assert_allclose(profile, constant + slope * x[strong.any((1, 2))], atol=1e-3)
    assert 0.9 < abs(slope) < 1.7
    across = [
        np.ptp(wrapped(added[i, :, :, 1][strong[i]] - constant - slope * x[i]))
        for i in np.flatnonzero(strong.any((1, 2)))
    ]
    assert max(across) < 2e-3


def test_true_chi_is_the_mean_over_the_voxel(scans, person):
    grid = scan_grid((4, 4, 4), (0, 0, 1))
    first, count = 28, 2
    origin = grid.fine_origin + grid.fine_steps @ np.array([first * 4, 0, 0])
    _, chi, brain = sample_anatomy(person, origin, grid.fine_steps, (4 * count, *grid.fine_shape[1:]))
    blocks = np.where(brain, chi, 0).reshape(count, 4, grid.shape[1], 4, grid.shape[2], 4)
    expected = blocks.mean((1, 3, 5))
    np.testing.assert_allclose(scans.straight.truth.chi[first : first + count], expected, atol=2e-6)
    share = brain.reshape(blocks.shape).mean((1, 3, 5))
    np.testing.assert_array_equal(scans.straight.truth.brain_mask[first : first + count], share > 0.5)


def test_oblique_and_straight_scans_show_the_same_person(scans):
    straight, oblique = scans.straight, scans.oblique
    volume = [scan.truth.brain_mask.sum() for scan in (straight, oblique)]
    assert volume[0] == pytest.approx(volume[1], rel=0.003)
    for name in ("Caudate", "Putamen", "Thalamus", "Globus-Pallidus-External"):
        means, noise = [], []
        for scan in (straight, oblique):
            inside = np.isin(scan.truth.labels, DEEP_GREY_NUCLEI[name])
            means.append(scan.truth.chi[inside].mean())
            noise.append(scan.truth.chi[inside].std() / np.sqrt(inside.sum()))
        # the voxels sample the borders of a region at different places
        assert abs(means[0] - means[1]) < 4 * np.hypot(*noise), name


@pytest.mark.parametrize("name", ["straight", "oblique"])
def test_direction_of_b0_is_the_scanners_z_in_voxel_axes(scans, name):
    scan = getattr(scans, name)
    rotation = scan.affine[:3, :3] / scan.voxel_size
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(scan.b0_direction, rotation.T @ [0, 0, 1], atol=1e-12)


def test_oblique_scan_sees_the_same_field(scans):
    straight, oblique = scans.straight, scans.oblique
    inside = np.argwhere(binary_erosion(straight.truth.brain_mask, iterations=3))
    to_oblique = np.linalg.inv(oblique.affine) @ straight.affine
    index = to_oblique[:3, :3] @ inside.T + to_oblique[:3, 3:]
    for name, agreement in (("chi", 0.97), ("local_field", 0.97), ("total_field", 0.99)):
        # turned voxels average over other places: what both resolve is left after smoothing
        expected = gaussian_filter(getattr(straight.truth, name), 1.0)[tuple(inside.T)]
        got = map_coordinates(gaussian_filter(getattr(oblique.truth, name), 1.0), index, order=3)
        assert np.corrcoef(expected, got)[0, 1] > agreement, name
        assert np.polyfit(expected, got, 1)[0] == pytest.approx(1, abs=0.05), name


def test_local_field_is_that_of_the_true_map(scans):
    truth = scans.straight.truth
    found = hz_per_ppm(3.0) * forward_field(
        truth.chi, voxel_size=scans.straight.voxel_size, b0_direction=scans.straight.b0_direction
    )
    deep = binary_erosion(truth.brain_mask, iterations=2)
    assert np.corrcoef(found[deep], truth.local_field[deep])[0, 1] > 0.99
    assert np.polyfit(truth.local_field[deep], found[deep], 1)[0] == pytest.approx(1, abs=0.03)


def test_sinuses_and_ear_canals_spoil_the_field_as_in_a_head(scans):
    scan, truth = scans.straight, scans.straight.truth
    brain = truth.brain_mask
    ideal = scan.magnitude[..., 0] * np.exp(-truth.r2star * (scan.echo_times[-1] - scan.echo_times[0]))
    lost = brain & (scan.magnitude[..., -1] < 0.5 * ideal) & (truth.r2star < 40)
    assert 0.002 < lost.sum() / brain.sum() < 0.1
    air = binary_dilation(truth.labels == LABELS["Sinus-Air"], iterations=4)
    assert lost[air].sum() / lost.sum() > 3 * (brain & air).sum() / brain.sum()
    assert np.ptp(np.quantile(truth.total_field[brain], [0.001, 0.999])) > 150
    field = truth.total_field[brain]
    assert abs(field.mean()) < 0.1 * field.std()  # shimmed


def test_left_is_left(scans):
    scan = scans.straight
    x = np.indices(scan.truth.chi.shape)[0] * scan.affine[0, 0] + scan.affine[0, 3]
    for name, (left, right) in DEEP_GREY_NUCLEI.items():
        assert scan.truth.label_names[left] == f"Left-{name}"
        assert x[scan.truth.labels == left].mean() < -2 < 2 < x[scan.truth.labels == right].mean()


@pytest.mark.parametrize(
    "values",
    [
        {"voxel_size": (0.0, 1, 1)},
        {"voxel_size": (float("nan"), 1, 1)},
        {"echo_times": ()},
        {"echo_times": (0.01, 0.005)},
        {"echo_times": (float("nan"), 0.005)},
        {"echo_times": (5.0, 10.0)},
        {"field_strength": 0.0},
        {"b0_direction": (0.0, 0, 0)},
        {"b0_direction": (float("inf"), 0, 0)},
        {"snr": 0.0},
        {"snr": float("inf")},
    ],
)
def test_impossible_protocols_are_refused(values):
    with pytest.raises(ValueError):
        Protocol(**values)
