import nibabel as nib
import numpy as np
import pytest
from echo_phantom import echo_phantom
from scipy.ndimage import binary_erosion

from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.partial_volume import centroid_error
from qsmxt_app.qsm.phase import scale_phase

TIMES = [4e-3, 9e-3, 14e-3, 19e-3, 24e-3]
NINE = [3e-3 * e for e in range(1, 10)]


def fit(head, **options):
    return fit_total_field(
        head.magnitude, head.phase, head.echo_times, mask=head.mask, voxel_size=head.voxel_size, **options
    )


def error_of(found, head):
    """Error less its median: a uniform frequency is not observable, and shifts nothing."""
    error = (found.total_field - head.field)[head.mask]
    return error - np.median(error)


@pytest.mark.parametrize(
    ("times", "difference"),
    [
        (TIMES, (0, 0, 0, 0)),
        (TIMES, (0.6, 0.05, -0.03, 0.02)),
        (NINE, (0.6, 0.05, -0.03, 0.02)),
        ([4e-3, 8e-3, 12e-3], (0, 0, 0, 0)),
        ([5e-3, 10e-3], (0, 0, 0, 0)),
        ([3e-3, 7e-3, 12e-3, 18e-3], (0, 0, 0, 0)),
    ],
    ids=["5", "5 bipolar", "9 bipolar", "3", "2", "uneven"],
)
def test_field_is_at_its_noise_floor_and_knows_it(times, difference):
    head = echo_phantom(times, difference=difference, peak=1.4 / (times[1] - times[0]))
    found = fit(head, bipolar=any(difference))
    assert np.ptp(head.field[head.mask]) > 1 / (times[1] - times[0])  # wraps between echoes
    error = error_of(found, head)
    weights = 2 * np.pi * head.echo_times * np.exp(-np.outer(head.r2star[head.mask], head.echo_times))
    floor = head.noise_level / np.sqrt(((weights * head.s0[head.mask][:, None]) ** 2).sum(axis=1))
    assert np.sqrt(np.mean((error / floor) ** 2)) < 1.15
    assert np.std(error / found.field_noise[head.mask]) == pytest.approx(1.0, abs=0.2)
    assert found.noise_level == pytest.approx(head.noise_level, rel=0.06)


def test_bipolar_equals_monopolar_within_noise():
    head = echo_phantom(NINE)
    x, y, _ = np.meshgrid(*[np.arange(n) for n in head.mask.shape], indexing="ij")
    pattern = (0.4 + 0.05 * x - 0.03 * y)[..., None] * np.where(np.arange(9) % 2 == 0, 1, -1)
    alternating = np.angle(np.exp(1j * (head.phase + pattern))).astype(np.float32)
    one = fit(head)
    two = fit_total_field(
        head.magnitude, alternating, NINE, mask=head.mask, voxel_size=head.voxel_size, bipolar=True
    )
    difference = (one.total_field - two.total_field)[head.mask]
    assert np.std(difference) < 0.1 * np.median(one.field_noise[head.mask])


def test_wrapped_field_is_the_total_field_modulo_its_period():
    head = echo_phantom(TIMES)
    found = fit(head)
    assert found.period == pytest.approx(200)
    turns = (found.total_field - found.wrapped_field)[head.mask] / found.period
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)
    assert np.abs(found.wrapped_field).max() <= 100.001
    assert not found.total_field[~head.mask].any()


def test_field_beyond_the_mask_is_fitted_and_air_has_the_error_of_a_random_field():
    head = echo_phantom(TIMES)
    found = fit(head)
    shell = (head.s0 > 0) & ~head.mask
    error = (found.wrapped_field - head.field)[shell] / found.period
    error = (error - np.rint(error)) * found.period
    error -= np.median(error)
    assert np.std(error / found.field_noise[shell]) == pytest.approx(1.0, abs=0.3)
    np.testing.assert_allclose(found.field_noise[head.s0 == 0], found.period / np.sqrt(12), rtol=1e-6)
    assert found.trust[head.s0 == 0].max() < 0.01
    assert found.trust[head.mask].min() > 0.95


def test_monte_carlo_noise_is_the_standard_error():
    fields = []
    for seed in range(12):
        head = echo_phantom(TIMES, size=32, seed=seed, noise_level=0.03)
        found = fit(head)
        fields.append(found.total_field[head.mask])
    spread = np.std(fields, axis=0, ddof=1)
    systematic = centroid_error(found.wrapped_field, found.period, head.magnitude[..., 0])
    claimed = np.sqrt((found.field_noise**2 - systematic**2)[head.mask])
    assert np.sqrt(np.mean(spread**2)) == pytest.approx(np.sqrt(np.mean(claimed**2)), rel=0.15)
    # and the map, not only its mean, is right
    assert np.corrcoef(spread, claimed)[0, 1] > 0.3


def test_single_echo_is_phase_over_time():
    head = echo_phantom([10e-3], offset_scale=0.0, peak=80.0)
    found = fit(head)
    error = error_of(found, head)
    floor = head.noise_level / (
        2 * np.pi * 10e-3 * head.s0[head.mask] * np.exp(-head.r2star[head.mask] * 10e-3)
    )
    assert np.std(error / floor) < 1.05
    assert np.std(error / found.field_noise[head.mask]) == pytest.approx(1.0, abs=0.1)
    assert found.period == pytest.approx(100)
    assert not found.offset.any()


def test_frequencies_spread_inside_a_voxel_bias_the_field_less_than_a_line_and_raise_its_error():
    head = echo_phantom(TIMES, noise_level=0.005)
    times = head.echo_times
    # part of the signal at a field 60 Hz higher, in a sheet thinner than any offset changes
    slab = np.zeros(head.mask.shape, bool)
    slab[22:24] = True
    slab &= head.mask
    signal = head.magnitude * np.exp(1j * head.phase)
    signal[slab] *= 0.85 + 0.15 * np.exp(2j * np.pi * 60 * times)
    found = fit_total_field(
        np.abs(signal).astype(np.float32),
        np.angle(signal).astype(np.float32),
        times,
        mask=head.mask,
        voxel_size=head.voxel_size,
    )
    error = found.total_field - head.field
    error = error - np.median(error[head.mask & ~slab])
    mean_shift = 0.15 * 60
    weights = (times * np.exp(-25 * times)) ** 2
    bent = np.unwrap(np.angle(0.85 + 0.15 * np.exp(2j * np.pi * 60 * times)))
    line_shift = np.sum(weights * bent / (2 * np.pi * times)) / weights.sum()
    assert abs(line_shift - mean_shift) > 3
    assert abs(np.median(error[slab]) - mean_shift) < 0.5 * abs(line_shift - mean_shift)
    clean = np.median(found.field_noise[head.mask & ~slab])
    assert np.median(found.field_noise[slab]) > 3 * clean


def test_laplacian_and_romeo_agree_where_the_field_is_smooth():
    head = echo_phantom(TIMES)
    exact = fit(head)
    laplacian = fit(head, unwrapping="laplacian")
    inner = binary_erosion(head.mask, iterations=2)
    difference = (exact.total_field - laplacian.total_field)[inner]
    assert np.std(difference) < 0.5
    np.testing.assert_array_equal(exact.wrapped_field, laplacian.wrapped_field)


def test_same_input_gives_the_same_bytes():
    head = echo_phantom(TIMES, size=32)
    one, two = fit(head), fit(head)
    for name in ("total_field", "field_noise", "offset", "trust", "residual"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_void_in_the_mask_stays_finite_and_untrusted():
    head = echo_phantom(TIMES)
    rng = np.random.default_rng(0)
    void = np.zeros(head.mask.shape, bool)
    void[22:27, 22:27, 22:27] = True
    magnitude, phase = head.magnitude.copy(), head.phase.copy()
    magnitude[void] = rng.rayleigh(head.noise_level, magnitude[void].shape)
    phase[void] = rng.uniform(-np.pi, np.pi, phase[void].shape)
    found = fit_total_field(magnitude, phase, TIMES, mask=head.mask, voxel_size=head.voxel_size)
    for name in ("total_field", "wrapped_field", "field_noise", "trust", "residual", "offset"):
        assert np.isfinite(getattr(found, name)).all()
    assert np.median(found.trust[void]) < 0.5
    error = (found.total_field - head.field)[head.mask & ~void]
    assert np.abs(error - np.median(error)).max() < 5


@pytest.mark.parametrize("times", [TIMES, TIMES[:2], TIMES[:1]])
@pytest.mark.filterwarnings("error")
def test_voxels_without_any_signal_are_harmless(times):
    head = echo_phantom(times, size=32, peak=40.0)
    magnitude, phase = head.magnitude.copy(), head.phase.copy()
    magnitude[15:17, 15:17, 15:17] = 0
    phase[15:17, 15:17, 15:17] = 0
    magnitude[~head.mask] = 0
    found = fit_total_field(magnitude, phase, times, mask=head.mask, voxel_size=head.voxel_size)
    for name in ("total_field", "wrapped_field", "field_noise", "trust", "residual", "offset"):
        assert np.isfinite(getattr(found, name)).all()
    np.testing.assert_allclose(found.field_noise[15:17, 15:17, 15:17], found.period / np.sqrt(12), rtol=1e-6)


def test_memory_order_and_type_of_the_input_change_nothing():
    head = echo_phantom(TIMES, size=32)
    one = fit(head)
    two = fit_total_field(
        np.asfortranarray(head.magnitude.astype(np.float64)),
        np.asfortranarray(head.phase.astype(np.float64)),
        TIMES,
        mask=np.asfortranarray(head.mask),
        voxel_size=head.voxel_size,
    )
    np.testing.assert_allclose(one.total_field, two.total_field, atol=1e-3)
    np.testing.assert_allclose(one.field_noise, two.field_noise, rtol=1e-3)


def test_open_fringes_are_not_trusted():
    head = echo_phantom(TIMES)
    x, y, _ = np.meshgrid(*[np.arange(n) - 24.5 for n in head.mask.shape], indexing="ij")
    vortex = np.arctan2(y, x) / (2 * np.pi) / (TIMES[1] - TIMES[0])  # a field of one turn around the z axis
    phase = np.angle(np.exp(1j * (head.phase + 2 * np.pi * vortex[..., None] * head.echo_times)))
    found = fit_total_field(
        head.magnitude, phase.astype(np.float32), TIMES, mask=head.mask, voxel_size=head.voxel_size
    )
    # where the fringe ends, each plane has one square that no unwrapping can close, at the axis or beside it
    near = (np.hypot(x, y) < 3) & head.mask
    open_voxels = (near & (found.trust < 0.01)).sum(axis=(0, 1))
    assert np.all(open_voxels[near.any(axis=(0, 1))] >= 4)
    away = (np.hypot(x, y) > 8) & head.mask
    assert np.mean(found.trust[away] > 0.9) > 0.99


def test_bad_input_is_refused():
    head = echo_phantom(TIMES, size=12)
    with pytest.raises(ValueError, match="unwrapping"):
        fit(head, unwrapping="graphcut")
    with pytest.raises(ValueError, match="as many echo times"):
        fit_total_field(head.magnitude, head.phase, TIMES[:2], mask=head.mask, voxel_size=head.voxel_size)
    spoilt = head.phase.copy()
    spoilt[3, 3, 3, 1] = np.nan
    with pytest.raises(ValueError, match="phase contains NaN"):
        fit_total_field(head.magnitude, spoilt, TIMES, mask=head.mask, voxel_size=head.voxel_size)


def test_crop_in_vivo_is_smooth_without_jumps(test_data):
    folder = test_data / "megre-crop"
    magnitude = np.asarray(nib.load(folder / "Mag.nii").dataobj, dtype=np.float32)
    phase = scale_phase(np.asarray(nib.load(folder / "Phase.nii").dataobj)).phase
    mask = magnitude[..., 0] > 0.25 * np.quantile(magnitude[..., 0], 0.95)
    found = fit_total_field(magnitude, phase, [4e-3, 8e-3, 12e-3], mask=mask, voxel_size=(0.47, 0.47, 1.0))
    trusted = mask & (found.trust > 0.9)
    assert trusted.sum() > 0.9 * mask.sum()
    for axis in range(3):
        pairs = np.moveaxis(trusted, axis, 0)
        steps = np.abs(np.diff(np.moveaxis(found.total_field, axis, 0), axis=0))[pairs[1:] & pairs[:-1]]
        assert np.mean(steps > found.period / 2) < 1e-4
        assert np.quantile(steps, 0.99) < 20
    assert np.isfinite(found.total_field).all()
