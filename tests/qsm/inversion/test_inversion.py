import numpy as np
import pytest
import scipy.fft
from field_phantoms import OBLIQUE, ellipsoid, head
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from qsmxt_app.qsm.dipole import dipole_kernel, forward_field
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.inversion.nonlinear import nonlinear
from qsmxt_app.qsm.inversion.splitting import invert_by_splitting
from qsmxt_app.qsm.inversion.tv import tv
from qsmxt_app.qsm.inversion.variation import gradient_adjoint, shrink_gradient
from qsmxt_app.qsm.padded_grid import PaddedGrid, field_weights, regularising_noise

METHODS = ["rts", "tv", "nonlinear"]
GEOMETRIES = [((2.0, 2.0, 2.0), (0.0, 0.0, 1.0)), ((1.5, 2.0, 3.0), OBLIQUE)]


def blocks(voxel_size, shape=(36, 38, 32)):
    """Mask and piecewise constant chi, averaged from a finer grid."""
    fine = [2 * n for n in shape]
    half = [h / 2 for h in voxel_size]
    chi = np.zeros(fine, np.float32)
    for centre, semiaxes, value in [
        ((6, 4, 2), (7, 9, 6), 0.12),
        ((-9, 2, -4), (5, 6, 8), -0.06),
        ((0, -12, 5), (6, 4, 5), 0.2),
    ]:
        chi[ellipsoid(fine, half, semiaxes, centre)] = value
    mask = ellipsoid(shape, voxel_size, [0.42 * n * h for n, h in zip(shape, voxel_size, strict=True)])
    return mask, chi


def coarse(volume):
    x, y, z = (n // 2 for n in volume.shape)
    return volume.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5)).astype(np.float32)


def nrmse(chi, truth, mask):
    a, b = chi[mask] - chi[mask].mean(), truth[mask] - truth[mask].mean()
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize(("voxel_size", "b0"), GEOMETRIES)
@pytest.mark.parametrize(("method", "allowed"), [("rts", 0.45), ("tv", 0.3), ("nonlinear", 0.3)])
def test_map_of_local_field(method, allowed, voxel_size, b0, rng):
    mask, fine = blocks(voxel_size)
    field = coarse(forward_field(fine, voxel_size=[h / 2 for h in voxel_size], b0_direction=b0))
    field += 1e-3 * rng.standard_normal(field.shape).astype(np.float32)
    result = INVERSION_METHODS[method].function(field, mask, voxel_size=voxel_size, b0_direction=b0)
    assert nrmse(result.chi, coarse(fine), mask) < allowed
    assert np.all(result.chi[~mask] == 0)
    wrong = INVERSION_METHODS[method].function(field, mask, voxel_size=voxel_size, b0_direction=(0, 1, 0))
    assert nrmse(wrong.chi, coarse(fine), mask) > 1.5 * nrmse(result.chi, coarse(fine), mask)


def outside_cone(shape, voxel_size, b0, rng):
    """Smooth periodic chi without components near the zeros of the dipole."""
    kernel = dipole_kernel(shape, voxel_size, b0)
    spectrum = scipy.fft.rfftn(gaussian_filter(rng.standard_normal(shape), 1.5, mode="wrap"))
    chi = scipy.fft.irfftn(spectrum * (np.abs(kernel) > 0.2), s=shape)
    return (0.1 * chi / chi.std()).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_noiseless_field_outside_the_cone_inverts_exactly(method, rng):
    shape, voxel_size, b0 = (30, 32, 36), (1.5, 2.0, 3.0), OBLIQUE
    chi = outside_cone(shape, voxel_size, b0, rng)
    field = scipy.fft.irfftn(scipy.fft.rfftn(chi) * dipole_kernel(shape, voxel_size, b0), s=shape)
    everywhere = np.ones(shape, bool)
    # no margin: the volume is periodic, as the FFT has it
    options = {"noise": 1e-5, "gradient_scale": 0.1, "margin": 0, "max_iterations": 200, "tolerance": 1e-6}
    if method == "rts":
        options |= {"data_iterations": 30}
    result = INVERSION_METHODS[method].function(
        field.astype(np.float32), everywhere, voxel_size=voxel_size, b0_direction=b0, **options
    )
    # what total variation puts into the cone is its own matter
    believed = np.abs(dipole_kernel(shape, voxel_size, b0)) > 0.2
    measured = scipy.fft.irfftn(scipy.fft.rfftn(result.chi) * believed, s=shape)
    assert nrmse(measured, chi, everywhere) < 0.005


@pytest.mark.parametrize("method", METHODS)
def test_doubling_field_noise_and_gradients_doubles_the_map(method):
    mask, _, local = head()
    options = {"voxel_size": (2, 2, 2), "b0_direction": (0, 0, 1), "tolerance": 1e-8, "max_iterations": 15}
    small = 0.05 * local  # the cosine is a parabola for small phases
    invert = INVERSION_METHODS[method].function
    once = invert(small, mask, noise=1e-3, gradient_scale=0.01, **options).chi
    twice = invert(2 * small, mask, noise=2e-3, gradient_scale=0.02, **options).chi
    np.testing.assert_allclose(twice, 2 * once, atol=5e-3 * np.abs(once).max())


def test_nonlinear_ignores_whole_cycles_and_tv_does_not():
    voxel_size, b0 = GEOMETRIES[1]
    mask, fine = blocks(voxel_size)
    field = coarse(forward_field(fine, voxel_size=[h / 2 for h in voxel_size], b0_direction=b0))
    cycle = 1 / (0.02 * 3 * 42.577478518)
    wrapped = field.copy()
    wrapped[15:18, 20:23, 14:17] += np.float32(cycle)
    options = {"voxel_size": voxel_size, "b0_direction": b0, "echo_time": 0.02, "field_strength": 3.0}
    clean = nonlinear(field, mask, **options).chi
    spoiled = nonlinear(wrapped, mask, **options).chi
    linear = tv(wrapped, mask, voxel_size=voxel_size, b0_direction=b0).chi
    assert nrmse(linear, clean, mask) > 0.5
    assert nrmse(spoiled, clean, mask) < 0.2 * nrmse(linear, clean, mask)


def test_weights_keep_bad_voxels_out():
    voxel_size, b0 = GEOMETRIES[0]
    mask, fine = blocks(voxel_size)
    field = coarse(forward_field(fine, voxel_size=[h / 2 for h in voxel_size], b0_direction=b0))
    spoiled, weights = field.copy(), np.ones_like(field)
    spoiled[15:18, 20:23, 14:17] = 0.5
    weights[15:18, 20:23, 14:17] = 0
    truth = coarse(fine)
    for method in METHODS:
        invert = INVERSION_METHODS[method].function
        weighted = invert(spoiled, mask, voxel_size=voxel_size, b0_direction=b0, weights=weights)
        unweighted = invert(spoiled, mask, voxel_size=voxel_size, b0_direction=b0)
        assert nrmse(weighted.chi, truth, mask) < 0.6 * nrmse(unweighted.chi, truth, mask)


def test_tv_minimises_its_functional(rng):
    """Against an independent solver, L-BFGS on the smoothed functional of a tiny volume."""
    voxel_size, b0, noise, scale = (1.0, 1.5, 2.0), OBLIQUE, 5e-3, 0.1
    shape = (10, 8, 6)
    mask = rng.random(shape) > 0.2
    field = (0.05 * gaussian_filter(rng.standard_normal(shape), 1)).astype(np.float32)
    kernel = dipole_kernel(shape, voxel_size, b0).astype(float)

    def functional(flat):
        chi = flat.reshape(shape)
        residual = mask * (scipy.fft.irfftn(scipy.fft.rfftn(chi) * kernel, s=shape) - field) / noise
        steps = [(np.roll(chi, -1, axis) - chi) / h for axis, h in enumerate(voxel_size)]
        norm = np.sqrt(sum(step**2 for step in steps) + 1e-12)
        gradient = scipy.fft.irfftn(scipy.fft.rfftn(residual / noise) * kernel, s=shape)
        for axis, (step, h) in enumerate(zip(steps, voxel_size, strict=True)):
            unit = step / norm / h
            gradient += (np.roll(unit, 1, axis) - unit) / scale
        return 0.5 * np.sum(residual**2) + norm.sum() / scale, gradient.ravel()

    grid = PaddedGrid(np.ones(shape, bool), voxel_size, margin=0)
    chi, _, converged = invert_by_splitting(
        grid, b0, lambda v: ((mask * field + v) / (mask + 1)).astype(np.float32),
        strength=noise**2 / scale, gradient_penalty=noise**2 / scale**2, field_penalty=1.0,
        tolerance=1e-6, max_iterations=20000,
    )  # fmt: skip
    reference = minimize(
        functional, np.zeros(chi.size), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 6000}
    )
    ours = functional(chi.astype(float).ravel())[0]
    assert ours < 1.005 * reference.fun
    assert reference.fun < 0.9 * functional(np.zeros(chi.size))[0]
    assert converged


def test_differences_have_their_adjoint(rng):
    size = np.array([1.0, 1.5, 2.0], np.float32)
    chi = rng.standard_normal((6, 7, 8)).astype(np.float32)
    vector = rng.standard_normal((3, 6, 7, 8)).astype(np.float32)
    dual, target = np.zeros_like(vector), np.zeros_like(vector)
    shrink_gradient(chi, dual, target, np.float32(0), size)  # without shrinkage the target is the gradient
    adjoint = np.zeros_like(chi)
    gradient_adjoint(adjoint, vector, size)
    assert np.vdot(target, vector) == pytest.approx(np.vdot(chi, adjoint), rel=1e-4)


def test_shrinkage_shortens_by_the_threshold(rng):
    chi = rng.standard_normal((6, 7, 8)).astype(np.float32)
    size = np.ones(3, np.float32)
    gradient, shrunk, dual = (np.zeros((3, *chi.shape), np.float32) for _ in range(3))
    shrink_gradient(chi, np.zeros_like(gradient), gradient, np.float32(0), size)
    shrink_gradient(chi, dual, shrunk, np.float32(0.7), size)
    before, after = (np.linalg.norm(v, axis=0) for v in (gradient, shrunk + dual))
    np.testing.assert_allclose(after, np.maximum(before - 0.7, 0), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused(method):
    invert = INVERSION_METHODS[method].function
    field, mask = np.zeros((8, 8, 8), np.float32), np.ones((8, 8, 8), bool)
    options = {"voxel_size": (1, 1, 1), "b0_direction": (0, 0, 1)}
    with pytest.raises(ValueError, match="empty"):
        invert(field, ~mask, **options)
    with pytest.raises(ValueError, match="not finite"):
        invert(field + np.inf, mask, **options)
    with pytest.raises(ValueError, match="positive"):
        invert(field, mask, noise=0, **options)
    with pytest.raises(ValueError, match="unit vector"):
        invert(field, mask, voxel_size=(1, 1, 1), b0_direction=(0, 0, 0))
    with pytest.raises(ValueError, match="differ in shape"):
        invert(field, mask, weights=np.ones((8, 8, 7)), **options)


def test_weights_saturate_at_the_error_of_the_model():
    weights = field_weights(np.array([0, 1e-4, 4e-3]), model_error=3e-3)
    np.testing.assert_allclose(weights * 9e-6, [1, 1 / (1 + 1 / 900), 9 / 25], rtol=1e-5)
    with pytest.raises(ValueError, match="model error"):
        field_weights(np.zeros(3), model_error=0)


def test_regularisation_follows_the_standard_deviation_of_the_noise():
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3] = True
    loud = np.where(mask, 0.0028, np.inf)
    quiet, none = np.where(mask, 0.0014, np.inf), np.zeros(mask.shape)
    # the inversions square it
    ratio = (regularising_noise(loud, mask) / regularising_noise(quiet, mask)) ** 2
    assert ratio == pytest.approx(2, rel=0.02)
    loudest = (regularising_noise(10 * loud, mask) / regularising_noise(loud, mask)) ** 2
    assert loudest == pytest.approx(10, rel=0.02)
    assert 0 < regularising_noise(none, mask) < regularising_noise(quiet, mask)
