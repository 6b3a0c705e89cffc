import numpy as np
import pytest
from echo_phantom import wrapped

from qsmxt_app.qsm.nonlinear_phase import cholesky, fit_offset, largest_difference, nonlinear_phase_covariance

TIMES = np.array([4, 9, 14, 19, 24]) * 1e-3


def test_covariance_is_positive_and_one_at_the_last_echo():
    covariance = nonlinear_phase_covariance(TIMES)
    assert covariance[-1, -1] == pytest.approx(1)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_cholesky_is_the_library_factor():
    covariance = nonlinear_phase_covariance(TIMES) + 0.01 * np.eye(5)
    factor = covariance.copy()
    log_determinant = cholesky(factor)
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(covariance), rtol=1e-10)
    assert log_determinant == pytest.approx(np.linalg.slogdet(covariance)[1])


def test_offset_is_unbiased_where_phase_bends_and_its_precision_is_honest():
    rng = np.random.default_rng(0)
    count, noise_level = 5000, 0.01
    frequency = rng.uniform(-80, 80, count)
    offset = rng.uniform(-3, 3, count)
    bend = -0.8 * (TIMES / TIMES[-1]) ** 3
    angle = offset[:, None] + 2 * np.pi * frequency[:, None] * TIMES
    signal = np.exp(1j * (angle + bend))
    signal += noise_level * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    # a line through bent phase has another slope: what a fit of the frequency would hand over
    slope = np.polyfit(TIMES, bend, 1)[0] / (2 * np.pi)

    def error(gradient):
        found, precision = fit_offset(
            magnitude,
            phase,
            TIMES,
            (frequency + slope).astype(np.float32),
            np.full(count, gradient, np.float32),
            np.ones(count, bool),
            noise_level,
        )
        return wrapped(found - offset), precision

    straight, _ = error(0.0)
    bent, precision = error(30.0)
    assert abs(bent.mean()) < 0.15 * abs(straight.mean())
    assert np.std(bent) < 1.1 / np.sqrt(np.median(precision))
    level, precision = error(0.0)
    assert np.std(level) == pytest.approx(1 / np.sqrt(np.median(precision)), rel=0.05)


def test_largest_difference_to_neighbours_in_the_support():
    image = np.zeros((4, 4, 4), np.float32)
    image[1, 1, 1] = 3
    image[3, 3, 3] = 100
    support = np.ones((4, 4, 4), bool)
    support[3, 3, 3] = False
    found = largest_difference(image, support)
    assert found[1, 1, 1] == 3
    assert found[1, 1, 2] == 3
    assert found[1, 2, 2] == 0
    assert found[3, 3, 2] == 0
    assert found[3, 3, 3] == 0
