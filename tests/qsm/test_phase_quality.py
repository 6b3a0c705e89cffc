import numpy as np
import pytest

from qsmxt_app.qsm.phase_quality import phase_quality

ECHO_TIMES = np.array([4e-3, 9e-3, 13e-3, 20e-3])


def smooth_phase(shape=(24, 22, 20), echo_times=ECHO_TIMES):
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    field = 15 * (x**2 - y * z) + 10 * z
    return np.angle(np.exp(2j * np.pi * field[..., None] * echo_times)).astype(np.float32)


def complex_noise(shape, seed=3):
    random = np.random.default_rng(seed)
    return random.normal(size=shape) + 1j * random.normal(size=shape)


def one_voxel_by_the_formula(magnitude, phase, echo_times, voxel):
    """Straight transcription for one interior voxel, in double precision."""

    def wrapped(angle):
        return np.angle(np.exp(1j * angle))

    numerator = denominator = 0.0
    for echo in range(len(echo_times)):
        early, late = (echo - 1, echo) if echo else (0, 1)
        weights = []
        for axis in range(3):
            for side in (-1, 1):
                neighbour = tuple(np.array(voxel) + side * np.eye(3, dtype=int)[axis])
                step = wrapped(phase[neighbour].astype(float) - phase[voxel].astype(float))
                spatial = 1 - abs(step[echo]) / np.pi
                temporal = max(0, 1 - abs(step[early] - step[late] * echo_times[early] / echo_times[late]))
                pair = sorted([magnitude[neighbour][echo], magnitude[voxel][echo]])
                weights.append(spatial * temporal * (pair[0] / pair[1]) ** 2)
        numerator += magnitude[voxel][echo] ** 2 * np.mean(weights)
        denominator += magnitude[voxel][echo] ** 2
    return numerator / denominator


def test_agrees_with_the_formula():
    signal = np.exp(1j * smooth_phase((8, 8, 8))) + 0.2 * complex_noise((8, 8, 8, 4))
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    quality = phase_quality(magnitude, phase, ECHO_TIMES)
    for voxel in [(3, 4, 2), (1, 6, 5), (5, 5, 5)]:
        expected = one_voxel_by_the_formula(magnitude, phase, ECHO_TIMES, voxel)
        assert quality[voxel] == pytest.approx(expected, abs=1e-4)


def test_known_value_of_a_ramp():
    # one echo: 0.3 rad a voxel along x, so four of six edges are perfect and two lose 0.3 / pi
    phase = np.broadcast_to(0.3 * np.arange(9, dtype=np.float32)[:, None, None], (9, 7, 7)).copy()
    quality = phase_quality(np.ones_like(phase), phase, [0.01])
    assert quality[4, 3, 3] == pytest.approx(1 - 0.3 / np.pi / 3, abs=1e-5)


def test_clean_phase_is_good_and_noise_is_bad():
    phase = smooth_phase()
    clean = phase_quality(np.ones_like(phase), phase, ECHO_TIMES)
    noise = complex_noise(phase.shape)
    bad = phase_quality(np.abs(noise).astype(np.float32), np.angle(noise).astype(np.float32), ECHO_TIMES)
    assert clean.min() > 0.85
    # independent phases: E[1 - |d|/pi] = 1/2, E[(min/max)^2] of Rayleigh pairs = 2 ln 2 - 1, less for time
    assert bad.mean() < 0.5 * (2 * np.log(2) - 1)
    assert np.percentile(bad, 99) < clean.min() / 3


def test_quality_grows_with_the_signal():
    phase, noise = smooth_phase(), complex_noise((24, 22, 20, 4))
    means = []
    for snr in (2, 5, 10, 40):
        signal = np.exp(1j * phase) + noise / snr
        means.append(phase_quality(np.abs(signal), np.angle(signal), ECHO_TIMES).mean())
    assert np.all(np.diff(means) > 0.05)


def test_wrapping_changes_nothing():
    phase = smooth_phase()
    wrapped = phase_quality(np.ones_like(phase), phase, ECHO_TIMES)
    turns = np.random.default_rng(0).integers(-2, 3, phase.shape).astype(np.float32)
    moved = phase_quality(np.ones_like(phase), phase + np.float32(2 * np.pi) * turns, ECHO_TIMES)
    np.testing.assert_allclose(moved, wrapped, atol=1e-4)


def test_an_echo_that_has_decayed_does_not_spoil_the_others():
    phase = smooth_phase()
    magnitude = np.ones_like(phase)
    signal = magnitude * np.exp(1j * phase)
    signal[..., 2:] = 0.01 * complex_noise(signal[..., 2:].shape)
    quality = phase_quality(np.abs(signal), np.angle(signal), ECHO_TIMES)
    alone = phase_quality(magnitude[..., :2], phase[..., :2], ECHO_TIMES[:2])
    np.testing.assert_allclose(quality, alone, atol=0.01)


def test_voxels_without_signal_and_single_echo_volumes():
    phase = smooth_phase()[..., 1]
    magnitude = np.ones_like(phase)
    magnitude[5, 5, 5] = 0
    quality = phase_quality(magnitude, phase, [9e-3])
    assert quality[5, 5, 5] == 0
    assert quality[10, 10, 10] > 0.9
    np.testing.assert_array_equal(quality, phase_quality(magnitude[..., None], phase[..., None], [9e-3]))


def test_two_runs_write_the_same_bits():
    noise = complex_noise((24, 22, 20, 4)).astype(np.complex64)
    first = phase_quality(np.abs(noise), np.angle(noise), ECHO_TIMES)
    np.testing.assert_array_equal(first, phase_quality(np.abs(noise), np.angle(noise), ECHO_TIMES))


@pytest.mark.parametrize(
    ("magnitude_shape", "phase_shape", "echo_times", "message"),
    [
        ((4, 4, 4, 2), (4, 4, 4, 3), [1, 2], "same shape"),
        ((4, 4, 4, 2), (4, 4, 4, 2), [1, 2, 3], "do not fit"),
        ((4, 4, 4, 2), (4, 4, 4, 2), [2, 1], "ascend"),
        ((4, 4, 4, 1), (4, 4, 4, 1), [0], "positive"),
    ],
)
def test_what_does_not_fit_is_refused(magnitude_shape, phase_shape, echo_times, message):
    with pytest.raises(ValueError, match=message):
        phase_quality(np.ones(magnitude_shape, np.float32), np.ones(phase_shape, np.float32), echo_times)


def test_phase_that_is_not_a_number_is_no_quality_and_harms_its_neighbours_only():
    phase = smooth_phase()
    clean = phase_quality(np.ones_like(phase), phase, ECHO_TIMES)
    phase[10, 10, 10] = np.nan
    quality = phase_quality(np.ones_like(phase), phase, ECHO_TIMES)
    assert quality[10, 10, 10] == 0
    distance = np.abs(np.indices(quality.shape) - 10).sum(axis=0)
    np.testing.assert_array_equal(quality[distance > 1], clean[distance > 1])
    assert (quality[distance == 1] > 0.6).all()
