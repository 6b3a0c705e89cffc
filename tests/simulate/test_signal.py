"""The signal of single voxels against the equations of the spoiled gradient echo."""

import numpy as np
import pytest

from qsmxt_app.simulate.signal import block_majority, block_mean, polynomials, scan_signal
from qsmxt_app.simulate.tissues import LABELS, TISSUES, inversion_recovery_amplitude

ECHO_TIMES = (0.004, 0.011, 0.023)


def signal_of(names, frequencies, chi=None, field_strength=3.0):
    """One scan voxel made of two fine voxels along x."""
    tissue = np.array([LABELS[name] for name in names], np.uint8).reshape(2, 1, 1)
    mean = np.array([t.chi for t in TISSUES], np.float32)
    chi = mean[tissue] if chi is None else np.array(chi, np.float32).reshape(2, 1, 1)
    frequency = np.array(frequencies, np.float32).reshape(2, 1, 1)
    signal, r2star = scan_signal(
        tissue, chi, mean, frequency, subdivision=(2, 1, 1), echo_times=ECHO_TIMES,
        field_strength=field_strength, repetition_time=0.035, flip_angle=15.0,
    )  # fmt: skip
    return signal[0, 0, 0], r2star[0, 0, 0]


def ernst(tissue):
    e, alpha = np.exp(-0.035 / tissue.t1), np.deg2rad(15)
    return tissue.proton_density * np.sin(alpha) * (1 - e) / (1 - e * np.cos(alpha))


def test_homogeneous_voxel():
    white = TISSUES[LABELS["Left-Cerebral-White-Matter"]]
    signal, r2star = signal_of([white.name] * 2, [30, 30])
    te = np.array(ECHO_TIMES)
    np.testing.assert_allclose(
        signal, ernst(white) * np.exp((2j * np.pi * 30 - white.r2star) * te), rtol=1e-5
    )
    assert r2star == pytest.approx(white.r2star)


def test_two_frequencies_dephase():
    signal, _ = signal_of(["Left-Putamen"] * 2, [-12, 12])
    steady, _ = signal_of(["Left-Putamen"] * 2, [0, 0])
    np.testing.assert_allclose(signal, steady * np.cos(2 * np.pi * 12 * np.array(ECHO_TIMES)), rtol=1e-4)


def test_partial_volume_adds_complex_numbers():
    mixed, _ = signal_of(["CSF", "Vein"], [5, -40])
    csf, _ = signal_of(["CSF", "CSF"], [5, 5])
    vein, _ = signal_of(["Vein", "Vein"], [-40, -40])
    np.testing.assert_allclose(mixed, (csf + vein) / 2, rtol=1e-5)


def test_fat_is_shifted_and_its_field_is_not():
    fat, _ = signal_of(["Fat", "Fat"], [0, 0])
    shift = -3.4 * 42.577478518 * 3
    phase = np.angle(fat * np.exp(-2j * np.pi * shift * np.array(ECHO_TIMES)))
    np.testing.assert_allclose(phase, 0, atol=1e-3)


def test_iron_shortens_t2star():
    putamen = TISSUES[LABELS["Left-Putamen"]]
    _, more = signal_of([putamen.name] * 2, [0, 0], chi=[putamen.chi + 0.05] * 2)
    assert more == pytest.approx(putamen.r2star + 0.05 * 110, rel=1e-4)


def test_fields_and_rates_follow_the_main_field():
    """Fat's shift grows with B0, and so does iron's R2*; that of tissue by 60 % of it."""
    fat, _ = signal_of(["Fat", "Fat"], [0, 0], field_strength=7.0)
    phase = np.angle(fat * np.exp(2j * np.pi * 3.4 * 42.577478518 * 7 * np.array(ECHO_TIMES)))
    np.testing.assert_allclose(phase, 0, atol=2e-3)
    putamen = TISSUES[LABELS["Left-Putamen"]]
    _, rate = signal_of([putamen.name] * 2, [0, 0], chi=[putamen.chi + 0.05] * 2, field_strength=7.0)
    assert rate == pytest.approx(putamen.r2star * (0.4 + 0.6 * 7 / 3) + 0.05 * 110 * 7 / 3, rel=1e-4)


def test_texture_lengthens_t2star_only_so_far():
    putamen = TISSUES[LABELS["Left-Putamen"]]
    _, less = signal_of([putamen.name] * 2, [0, 0], chi=[putamen.chi - 0.5] * 2)
    assert less == pytest.approx(putamen.r2star - 0.05 * 110, rel=1e-4)
    _, least = signal_of(["CSF"] * 2, [0, 0], chi=[-1.0] * 2)
    assert least == pytest.approx(0.5)


def test_t1w_signal_is_that_of_an_inversion_recovery():
    """Steady state of repeated inversions, after 3 ms of decay (Bydder and Young 1985)."""
    signal = inversion_recovery_amplitude(0.9, 2.3)
    for tissue in (TISSUES[LABELS[name]] for name in ("Left-Cerebral-White-Matter", "CSF", "Fat")):
        recovered = 1 - 2 * np.exp(-0.9 / tissue.t1) + np.exp(-2.3 / tissue.t1)
        steady = recovered / (1 + np.exp(-2.3 / tissue.t1))
        expected = tissue.proton_density * abs(steady) * np.exp(-0.003 * tissue.r2star)
        assert signal[LABELS[tissue.name]] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("term", "corner"),
    enumerate([1, 0.5, -1, 0, -0.5, 0, 0, 0.25, 1, 0]),
)
def test_a_profile_has_its_terms_in_their_order(term, corner):
    """At x = 0.5, y = -1, z = 0: 1, x, y, z, xy, xz, yz, xx, yy, zz."""
    profile = polynomials((5, 3, 3), np.eye(10, dtype=np.float32)[term])
    assert profile[3, 0, 1] == pytest.approx(corner)
    # at x = -1, y = 1, z = 1 the mixed terms differ as well
    assert profile[0, 2, 2] == pytest.approx([1, -1, 1, 1, -1, -1, 1, 1, 1, 1][term])


def test_air_is_silent():
    signal, r2star = signal_of(["Background", "Sinus-Air"], [100, -100])
    np.testing.assert_array_equal(signal, 0)
    assert r2star == 0


def test_blocks():
    rng = np.random.default_rng(0)
    fine = rng.standard_normal((6, 4, 9)).astype(np.float32)
    mean = np.empty((2, 2, 3), np.float32)
    block_mean(len(mean), fine, np.array([3, 2, 3]), mean)
    np.testing.assert_allclose(mean, fine.reshape(2, 3, 2, 2, 3, 3).mean((1, 3, 5)), atol=1e-6)
    labels = np.array([1, 1, 4, 4, 4, 9, 2, 2], np.uint8).reshape(8, 1, 1)
    most = np.empty((2, 1, 1), np.uint8)
    block_majority(len(most), labels, np.array([4, 1, 1]), most)
    np.testing.assert_array_equal(most.ravel(), [1, 2])  # of equals the smaller
