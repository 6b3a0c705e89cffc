import numpy as np
import pytest

from qsmxt_app.qsm.phase import wrap_phase
from qsmxt_app.qsm.stored_phase import (
    echo_scale_warning,
    echo_scales,
    kind_warnings,
    scale_warnings,
    similarity,
    wrap_step,
)

SHAPE = (20, 22, 24)
X, Y, Z = np.indices(SHAPE).astype(np.float32)
RNG = np.random.default_rng(3)
MAGNITUDE = (100 + 30 * np.sin(X / 3) * np.cos(Y / 4) + RNG.normal(0, 3, SHAPE)).astype(np.float32)[..., None]
FIELD = (0.02 * (X - 9) ** 2 + 0.015 * (Y - 11) ** 2 + 0.03 * Z**2)[..., None]
WRAPPED = wrap_phase(FIELD)


@pytest.mark.parametrize("unit", [1.0, 0.5, 1 / np.pi, 180 / np.pi, 4096 / (2 * np.pi)])
def test_the_turn_is_read_off_the_wraps(unit):
    turn = wrap_step(WRAPPED * np.float32(unit), MAGNITUDE)
    assert turn == pytest.approx(2 * np.pi * unit, rel=0.02)
    right, wrong = scale_warnings(turn, 1 / unit), scale_warnings(turn, 1.2 / unit)
    assert right == ()
    assert wrong[0].startswith("The phase is wrongly scaled")


@pytest.mark.parametrize("factors", [(1, 0.97, 1.1), (0.8, 1, 1.03)])
def test_the_scale_of_each_echo_is_measured(factors):
    stretched = np.concatenate([WRAPPED] * 3, axis=-1) * np.array(factors, np.float32)
    magnitude = np.concatenate([MAGNITUDE] * 3, axis=-1)
    found = echo_scales(stretched, magnitude, 1.0)
    np.testing.assert_allclose(found, factors, rtol=0.01)
    assert "echo" in echo_scale_warning(found)
    assert echo_scales(np.concatenate([WRAPPED] * 3, axis=-1), magnitude, 1.0) is None


@pytest.mark.parametrize("stored", [0.3 * FIELD / FIELD.max(), 2.5 * WRAPPED, 0.1 * WRAPPED])
def test_another_unit_or_phase_without_wraps_is_no_stretched_echo(stored):
    assert echo_scales(stored.astype(np.float32), MAGNITUDE, 1.0) is None


@pytest.mark.parametrize("phase", [FIELD, 0.1 * FIELD / FIELD.max(), 0.01 * MAGNITUDE])
def test_what_has_no_wraps_says_nothing_of_its_turn(phase):
    assert wrap_step(phase.astype(np.float32), MAGNITUDE) is None
    assert scale_warnings(None, 5.0) == ()


def test_a_phase_is_no_magnitude_and_a_magnitude_is():
    mask = np.ones(SHAPE, bool)
    assert abs(similarity(MAGNITUDE[..., 0], WRAPPED[..., 0], mask)) < 0.3
    assert similarity(MAGNITUDE[..., 0], np.sqrt(MAGNITUDE[..., 0]), mask) == pytest.approx(1)
    assert similarity(MAGNITUDE[..., 0], np.ones(SHAPE), mask) == 0
    assert kind_warnings(MAGNITUDE, WRAPPED) == ()
    assert "looks like a magnitude" in kind_warnings(MAGNITUDE, np.log(MAGNITUDE))[0]


def test_only_the_echo_that_is_wrong_is_named():
    magnitude = np.concatenate([MAGNITUDE, 0.8 * MAGNITUDE], axis=-1)
    phase = np.concatenate([WRAPPED, 3 * MAGNITUDE], axis=-1)
    assert kind_warnings(magnitude, phase)[0].startswith("The phase of echo 2 looks like")


def test_few_wraps_show_a_turn_as_many_do():
    # a phase that leaves its turn only in a corner
    few = wrap_phase(3.5 * FIELD / FIELD.max())
    assert 0 < np.count_nonzero(few < 0) < 0.02 * few.size
    assert wrap_step(few, MAGNITUDE) == pytest.approx(2 * np.pi, rel=0.02)


def test_images_cut_out_of_their_background_are_no_wrapped_magnitude():
    cut = (X - 10) ** 2 + (Y - 11) ** 2 + (Z - 12) ** 2 < 64
    assert kind_warnings(MAGNITUDE * cut[..., None], 0.01 * WRAPPED * cut[..., None]) == ()


def test_exchanged_images_are_noticed():
    assert "exchanged" in kind_warnings(WRAPPED + np.float32(np.pi), MAGNITUDE)[0]
