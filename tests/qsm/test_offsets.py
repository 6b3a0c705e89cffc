import numpy as np
import pytest
from echo_phantom import echo_phantom, wrapped
from scipy.ndimage import binary_erosion

from qsmxt_app.qsm.offsets import readout_difference, remove_offsets

TIMES = [4e-3, 9e-3, 14e-3, 19e-3, 24e-3]
DIFFERENCE = (0.6, 0.05, -0.03, 0.02)


def without_constant(error):
    return wrapped(error - np.angle(np.exp(1j * error).mean()))


@pytest.mark.parametrize("times", [TIMES, [4e-3, 8e-3, 12e-3], [5e-3, 11e-3], [3e-3, 7e-3, 12e-3, 18e-3]])
def test_known_offset_is_recovered_below_the_noise_with_no_bias_at_the_rim(times):
    head = echo_phantom(times)
    found = remove_offsets(head.magnitude, head.phase, times, mask=head.mask, voxel_size=head.voxel_size)
    phase_noise = head.noise_level / np.median(head.magnitude[head.mask][:, 0])
    error = without_constant((found.offset - head.offset)[head.mask])
    assert error.std() < 0.5 * phase_noise
    rim = (head.mask & ~binary_erosion(head.mask))[head.mask]
    assert abs(error[rim].mean()) < 0.5 * phase_noise
    assert found.readout_difference is None


def test_corrected_phase_is_a_line_through_the_origin():
    head = echo_phantom(TIMES)
    found = remove_offsets(head.magnitude, head.phase, TIMES, mask=head.mask, voxel_size=head.voxel_size)
    expected = 2 * np.pi * head.field[..., None] * head.echo_times
    error = wrapped(found.phase - expected)[head.mask]
    expected_error = np.sqrt(np.mean((head.noise_level / head.magnitude[head.mask]) ** 2))
    assert np.sqrt(np.mean(error**2)) == pytest.approx(expected_error, rel=0.1)


@pytest.mark.parametrize("times", [[3e-3 * e for e in range(1, 10)], TIMES, [4e-3, 8e-3, 12e-3]])
def test_bipolar_difference_is_found_below_the_noise(times):
    head = echo_phantom(times, difference=DIFFERENCE)
    found = readout_difference(head.magnitude, head.phase, head.echo_times, mask=head.mask)
    phase_noise = head.noise_level / np.median(head.magnitude[head.mask][:, 0])
    assert np.abs(wrapped(found - head.difference)[head.mask]).max() < phase_noise


def test_bipolar_pattern_is_gone_from_the_corrected_phase():
    head = echo_phantom(TIMES, difference=DIFFERENCE)
    found = remove_offsets(
        head.magnitude, head.phase, TIMES, mask=head.mask, voxel_size=head.voxel_size, bipolar=True
    )
    expected = 2 * np.pi * head.field[..., None] * head.echo_times
    error = wrapped(found.phase - expected)[head.mask]
    even_odd = error.mean(axis=0) @ np.array([1, -1.5, 1, -1.5, 1]) / 3
    assert abs(even_odd) < 0.1 * head.noise_level
    spread = np.sqrt(np.mean((head.noise_level / head.magnitude[head.mask]) ** 2))
    assert np.sqrt(np.mean(error**2)) == pytest.approx(spread, rel=0.1)


def test_monopolar_data_declared_bipolar_are_left_alone():
    head = echo_phantom(TIMES)
    found = readout_difference(head.magnitude, head.phase, head.echo_times, mask=head.mask)
    assert np.abs(found[head.mask]).max() < head.noise_level


def test_single_echo_is_unchanged():
    head = echo_phantom([10e-3])
    found = remove_offsets(head.magnitude, head.phase, [10e-3], mask=head.mask, voxel_size=head.voxel_size)
    np.testing.assert_allclose(wrapped(found.phase - head.phase), 0, atol=1e-6)
    assert not found.offset.any()


def test_correcting_twice_changes_nothing():
    head = echo_phantom(TIMES)
    first = remove_offsets(head.magnitude, head.phase, TIMES, mask=head.mask, voxel_size=head.voxel_size)
    again = remove_offsets(head.magnitude, first.phase, TIMES, mask=head.mask, voxel_size=head.voxel_size)
    assert again.offset[head.mask].std() < 0.3 * head.noise_level


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(phase=d["phase"][..., :3]), "one shape"),
        (lambda d: d.update(echo_times=[4e-3, 9e-3]), "as many echo times"),
        (lambda d: d.update(echo_times=TIMES[::-1]), "ascending"),
        (lambda d: d.update(echo_times=[1000 * t for t in TIMES]), "not ms"),
        (lambda d: d.update(mask=d["mask"][1:]), "mask"),
        (lambda d: d.update(mask=np.zeros_like(d["mask"])), "empty"),
        (lambda d: d.update(phase=np.where(d["phase"] > 3, np.nan, d["phase"])), "phase contains NaN"),
        (lambda d: d.update(magnitude=d["magnitude"] * np.inf), "magnitude contains NaN"),
        (lambda d: d.update(magnitude=d["magnitude"] * 0), "zero"),
    ],
)
def test_bad_input_is_refused(change, words):
    head = echo_phantom(TIMES, size=12)
    data = {"magnitude": head.magnitude, "phase": head.phase, "echo_times": TIMES, "mask": head.mask}
    change(data)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=words):
        remove_offsets(**data, voxel_size=head.voxel_size)
