import numpy as np
import pytest

from qsmxt_app.qsm.swi import combine_contrast, highpass_field, minimum_intensity_projection, swi

VOXEL_SIZE = (0.8, 0.8, 1.6)
ECHO_TIMES = np.array([5e-3, 12e-3, 20e-3])


@pytest.fixture
def head():
    shape = (60, 60, 36)
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    mask = ((x - 30) / 26) ** 2 + ((y - 30) / 26) ** 2 + ((z - 18) / 15) ** 2 <= 1
    vein = ((x - 36) ** 2 + (y - 30) ** 2 <= 2) & mask
    profile = 1 + 0.8 * np.exp(-((x - 60) ** 2 + (y - 30) ** 2) / 30**2)
    magnitude = (mask * profile)[..., None] * np.exp(-ECHO_TIMES * 20)
    return magnitude.astype(np.float32), mask, vein


def test_a_paramagnetic_vein_is_dark_and_a_diamagnetic_line_is_not(head):
    magnitude, mask, vein = head
    field = np.where(vein, np.float32(20), np.float32(0))
    dark = swi(magnitude, field, ECHO_TIMES, mask=mask, voxel_size=VOXEL_SIZE)
    bright = swi(magnitude, -field, ECHO_TIMES, mask=mask, voxel_size=VOXEL_SIZE)
    inner = vein.copy()
    inner[..., [*range(8), *range(28, 36)]] = False
    assert dark.swi[inner].max() < 0.5 * dark.magnitude[inner].min()
    np.testing.assert_allclose(bright.swi[inner], bright.magnitude[inner], rtol=1e-6)


def test_a_slow_background_field_leaves_no_shadow(head):
    magnitude, mask, _ = head
    x, y, _ = np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij")
    slow = (0.25 * x + 0.004 * (y - 30) ** 2).astype(np.float32)
    weight = swi(magnitude, slow, ECHO_TIMES, mask=mask, voxel_size=VOXEL_SIZE).phase_weight
    assert weight[20:40, 20:40, 10:26].min() > 0.95


def test_a_ramp_leaves_little_at_the_rim(head):
    _, mask, _ = head
    ramp = np.broadcast_to(0.25 * np.arange(60, dtype=np.float32)[:, None, None], mask.shape)
    residual = highpass_field(ramp, mask, voxel_size=VOXEL_SIZE, width_mm=4.0)
    # a Gaussian mean over a half space is off by width * slope * sqrt(2 / pi)
    off_by_one_mean = 4.0 * (0.25 / 0.8) * np.sqrt(2 / np.pi)
    assert np.abs(residual).max() < 0.6 * off_by_one_mean


def test_weight_at_the_phase_scale(head):
    magnitude, mask, _ = head
    echo_time = 0.01
    point = np.zeros(mask.shape, np.float32)
    point[30, 30, 18] = np.pi / 4 / (2 * np.pi * echo_time)
    result = swi(
        magnitude[..., :1], point, [echo_time], mask=mask, voxel_size=VOXEL_SIZE, strength=1, highpass_mm=8
    )
    # a filter this wide takes next to nothing from one voxel
    assert result.phase_weight[30, 30, 18] == pytest.approx(0.5, abs=0.01)
    assert result.phase_weight[10, 30, 18] == pytest.approx(1, abs=0.01)
    assert result.echo_time == echo_time


def test_the_coil_profile_is_divided_out(head):
    magnitude, mask, _ = head
    field = np.zeros(mask.shape, np.float32)
    flat = swi(magnitude, field, ECHO_TIMES, mask=mask, voxel_size=(3, 3, 6)).swi  # a head of 16 cm
    assert magnitude[50, 30, 18, 0] / magnitude[12, 30, 18, 0] > 1.5
    assert flat[50, 30, 18] / flat[12, 30, 18] < 1.25


def test_echo_weights_are_echo_time_times_signal():
    magnitude = np.ones((4, 4, 4, 2), np.float32) * np.float32([3, 1])
    combined, echo_time = combine_contrast(magnitude, [0.01, 0.02], np.ones((4, 4, 4), bool))
    # weights 0.03 and 0.02
    assert combined[0, 0, 0] == pytest.approx((0.03 * 3 + 0.02 * 1) / 0.05)
    assert echo_time == pytest.approx((0.03 * 0.01 + 0.02 * 0.02) / 0.05)


def test_highpass_is_blind_to_what_lies_outside_the_mask(head):
    _, mask, vein = head
    field = np.where(vein, np.float32(20), np.float32(0))
    polluted = np.where(mask, field, np.float32(1e4))
    clean = highpass_field(field, mask, voxel_size=VOXEL_SIZE, width_mm=4)
    np.testing.assert_array_equal(highpass_field(polluted, mask, voxel_size=VOXEL_SIZE, width_mm=4), clean)
    polluted[~mask] = np.nan
    np.testing.assert_array_equal(highpass_field(polluted, mask, voxel_size=VOXEL_SIZE, width_mm=4), clean)


@pytest.mark.parametrize(("axis", "voxel_size"), [(2, (1, 1, 2.0)), (0, (2.0, 1, 1))])
def test_minimum_intensity_projection_of_a_point(axis, voxel_size):
    image = np.ones((21, 21, 21), np.float32)
    image[10, 10, 10] = 0.2
    projected = minimum_intensity_projection(image, voxel_size=voxel_size, thickness_mm=10, axis=axis)
    line = np.moveaxis(projected, axis, -1)[10, 10]
    np.testing.assert_array_equal(np.flatnonzero(line < 1), [8, 9, 10, 11, 12])
    assert (projected < 1).sum() == 5


def test_wrong_input_is_refused(head):
    magnitude, mask, _ = head
    field = np.zeros(mask.shape, np.float32)
    with pytest.raises(ValueError, match="shape"):
        swi(magnitude, field[1:], ECHO_TIMES, mask=mask, voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="do not fit together"):
        swi(magnitude, field, ECHO_TIMES[:2], mask=mask, voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="empty"):
        swi(magnitude, field, ECHO_TIMES, mask=mask & False, voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="positive"):
        minimum_intensity_projection(field, voxel_size=VOXEL_SIZE, thickness_mm=0)
