import numpy as np
import pytest

from qsmxt_app.qsm.phase import wrap_phase
from qsmxt_app.qsm.phase_checks import (
    echo_coherence,
    echo_warnings,
    fringe_warning,
    open_fringes,
    repeated_echoes,
)

SIZE = 24
X, Y, Z = np.indices((SIZE, SIZE, SIZE)) - (SIZE - 1) / 2
ALL = np.ones((SIZE, SIZE, SIZE), bool)
VOXEL = (2.0, 2.0, 2.0)


def fringes(phase, magnitude=None, size=VOXEL):
    magnitude = np.ones(ALL.shape, np.float32) if magnitude is None else magnitude
    return open_fringes(magnitude.astype(np.float32), wrap_phase(phase), mask=ALL, voxel_size=size)


def test_a_vortex_is_as_long_as_the_line_at_which_it_turns():
    # two slices at either end have no full surroundings; the line is two voxels thick
    assert fringes(np.arctan2(Y, X)) == pytest.approx(np.linalg.norm([2.0 * (SIZE - 4), 4, 4]))
    assert "a singular line of 40 mm" in fringe_warning(fringes(np.arctan2(Y, X)))[0]


def test_closed_fringes_have_no_ends():
    assert fringes(0.05 * (X**2 + Y**2 + Z**2)) == 0
    assert fringe_warning(0.0) == ()


def test_ends_in_noise_or_darkness_or_at_undersampled_fringes_are_not_counted():
    rng = np.random.default_rng(0)
    assert fringes(rng.uniform(-np.pi, np.pi, ALL.shape)) == 0
    dark = np.where(np.hypot(X, Y) < 4, 0.1, 1.0)
    assert fringes(np.arctan2(Y, X), dark) == 0
    # a dipole so strong that its fringes are narrower than two voxels
    radius = np.sqrt(X**2 + Y**2 + Z**2)
    assert fringes(4000 * (3 * Z**2 - radius**2) / radius**5) == 0


def test_a_line_that_noise_interrupts_is_one_line_and_a_small_loop_is_none():
    gap = np.ones(ALL.shape)
    gap[11:13, 11:13, 11] = 0.01
    assert fringes(np.arctan2(Y, X), gap) == fringes(np.arctan2(Y, X))
    # the phase turns around a ring of 2 mm
    ring = np.angle((np.hypot(X, Y) - 1.0) + 1j * Z)
    assert fringes(ring, size=(1, 1, 1)) == pytest.approx(6)
    assert fringe_warning(fringes(ring, size=(1, 1, 1))) == ()


def test_coherence_is_the_mean_cosine_of_a_ramp_and_nothing_for_noise():
    rng = np.random.default_rng(1)
    phase = np.stack([0.6 * X, rng.uniform(-np.pi, np.pi, ALL.shape)], axis=-1).astype(np.float32)
    found = echo_coherence(phase, mask=ALL)
    assert found[0] == pytest.approx((np.cos(0.6) + 2) / 3, abs=1e-4)
    assert abs(found[1]) < 0.02
    told = echo_warnings(found, ())
    assert len(told) == 1
    assert told[0].startswith("Echo 2 holds noise")


def test_an_empty_mask_has_no_coherence_and_no_warning():
    found = echo_coherence(np.zeros((4, 4, 4, 2), np.float32), mask=np.zeros((4, 4, 4), bool))
    assert np.isnan(found).all()
    assert echo_warnings(found, ()) == ()


def test_a_repeated_echo_is_named():
    rng = np.random.default_rng(2)
    phase = rng.uniform(-3, 3, (4, 4, 4, 4))
    assert repeated_echoes(phase) == ()
    phase[..., 3] = phase[..., 1]
    assert repeated_echoes(phase) == ((2, 4),)
    assert echo_warnings((), repeated_echoes(phase))[0].startswith("Echo 4 has the phase of echo 2")


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="differ"):
        open_fringes(np.ones((3, 3, 3)), np.ones((3, 3, 2)), mask=np.ones((3, 3, 3), bool), voxel_size=VOXEL)
    with pytest.raises(ValueError, match="do not fit"):
        echo_coherence(np.ones((3, 3, 3)), mask=np.ones((3, 3, 3), bool))
