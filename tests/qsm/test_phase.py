import nibabel as nib
import numpy as np
import pytest
from echo_phantom import echo_phantom

from qsmxt_app.qsm.phase import repair_alternating_slices, scale_phase, wrap_phase

TRUE = np.linspace(-np.pi, np.pi, 200_001)[:-1]


def distance(a, b):
    return np.abs(np.angle(np.exp(1j * (np.asarray(a, dtype=float) - b)))).max()


@pytest.mark.parametrize(
    ("stored", "step"),
    [
        (np.floor((TRUE + np.pi) / (2 * np.pi) * 4096), 2 * np.pi / 4096),
        (np.floor(TRUE / (2 * np.pi) * 4096) * 2, 2 * np.pi / 4096),  # Siemens after dcm2niix: -4096..4094
        (np.floor(TRUE / (2 * np.pi) * 8192), 2 * np.pi / 8192),
        (np.floor(TRUE / (2 * np.pi) * 4096), 2 * np.pi / 4096),
        (np.rint(TRUE * 1000), 1e-3),
        (np.floor(TRUE / (2 * np.pi) * 65536), 2 * np.pi / 65536),
        (TRUE * 1000, 1e-6),
        (TRUE, 1e-6),
        (TRUE % (2 * np.pi), 1e-6),
        (np.rint(np.degrees(TRUE)), np.pi / 180),
    ],
    ids=[
        "0..4095",
        "-4096..4094",
        "-4096..4095",
        "-2048..2047",
        "mrad",
        "16bit",
        "philips",
        "rad",
        "2pi",
        "deg",
    ],
)
def test_known_ranges_without_unit_give_radians_and_no_warning(stored, step):
    scaled = scale_phase(stored)
    assert distance(scaled.phase, TRUE) <= step * 1.001 + 2e-6
    assert scaled.warnings == ()
    assert scaled.phase.dtype == np.float32
    assert scaled.phase.min() >= -np.float32(np.pi)
    assert scaled.phase.max() < np.float32(np.pi)


def test_zero_of_siemens_phase_is_the_middle_of_its_range():
    assert scale_phase(np.array([0, 2048, 4095])).phase[1] == 0
    assert scale_phase(np.array([-4096, 0, 4094])).phase[1] == 0


def test_header_range_beats_the_observed_extremes():
    stored = np.array([100.0, 2048.0, 3000.0])
    known = scale_phase(stored, stored_range=(0, 4095))
    np.testing.assert_allclose(known.phase, (stored - 2048) * 2 * np.pi / 4096, atol=2e-3)
    assert "stored range" in known.rule
    assert not scale_phase(stored, "arbitrary", stored_range=(0, 4095)).warnings


def test_arbitrary_scale_takes_its_extremes_and_says_so():
    scaled = scale_phase(TRUE * 0.004 / np.pi)
    assert distance(scaled.phase, TRUE) < 1e-4
    assert "unknown" in scaled.warnings[0]


def test_declared_radians_beyond_a_turn_are_wrapped_with_a_warning():
    unwrapped = np.linspace(-20, 31, 1000)
    scaled = scale_phase(unwrapped, "rad")
    assert distance(scaled.phase, unwrapped) < 1e-5
    assert "unwrapped" in scaled.warnings[0]


def test_declared_radians_in_a_small_range_are_not_stretched():
    np.testing.assert_allclose(scale_phase(np.array([-0.5, 0.25]), "rad").phase, [-0.5, 0.25])


def test_integers_declared_as_radians_are_scaled_with_a_warning():
    scaled = scale_phase(np.arange(4096), "rad")
    assert abs(scaled.phase[2048]) < 1e-6
    assert "Units say rad" in scaled.warnings[0]


def test_sign_is_inverted_on_request():
    np.testing.assert_allclose(scale_phase(np.array([-1.0, 2.0]), "rad", invert=True).phase, [1.0, -2.0])


@pytest.mark.parametrize(
    ("stored", "units", "stored_range", "words"),
    [
        (np.zeros((3, 3)), None, None, "constant"),
        (np.full((3, 3), 7), "rad", None, "constant"),
        (np.array([0.0, np.nan]), "rad", None, "NaN"),
        (np.array([0.0, np.inf]), None, None, "infinite"),
        (np.array([]), None, None, "empty"),
        (np.array([-80.0, 90.0]), "Hz", None, "Hz"),
        (np.array([-80.0, 9000.0]), None, (0, 4095), "outside"),
    ],
)
def test_unusable_phase_is_refused(stored, units, stored_range, words):
    with pytest.raises(ValueError, match=words):
        scale_phase(stored, units, stored_range)


def test_wrap_phase_is_half_open():
    assert wrap_phase(np.array([np.pi, -np.pi, 3 * np.pi])).max() < 3.1415927
    np.testing.assert_allclose(wrap_phase(np.float32([1.0, 7.0])), [1.0, 7.0 - 2 * np.pi], rtol=1e-6)


def test_alternating_slices_are_repaired_and_others_left_alone():
    head = echo_phantom([4e-3, 9e-3], size=24)
    spoilt = head.phase.copy()
    spoilt[:, :, 1::2] = wrap_phase(spoilt[:, :, 1::2] + np.pi)
    fixed, repaired = repair_alternating_slices(head.magnitude, spoilt)
    assert repaired
    assert distance(fixed, head.phase) < 1e-5
    same, repaired = repair_alternating_slices(head.magnitude, head.phase)
    assert not repaired
    assert same is head.phase


def test_crop_in_vivo_fills_the_circle(test_data):
    image = nib.load(test_data / "megre-crop" / "Phase.nii")
    scaled = scale_phase(np.asarray(image.dataobj))
    # the smaller value of an arbitrary scale is an end of the circle, and noise-free tissue wraps round it
    assert scaled.phase.max() > 3.14
    assert scaled.phase.min() < -3.14
    counts, _ = np.histogram(scaled.phase, 16, (-np.pi, np.pi))
    assert counts.min() > 0.2 * counts.mean()


def test_philips_export_is_already_radians(test_data):
    image = nib.load(test_data / "philips-3t" / "nifti_GRE" / "2001_fcMRI_Field_Mapping_e1_ph.nii.gz")
    stored = np.asarray(image.dataobj)
    scaled = scale_phase(stored)
    assert distance(scaled.phase, stored) < 1e-5
    assert scaled.warnings == ()
