import numpy as np
import pytest
from echo_phantom import wrapped
from scipy.optimize import least_squares

from qsmxt_app.qsm.echo_fit import fit_echoes

EVEN = np.array([4, 9, 14, 19, 24]) * 1e-3
UNEVEN = np.array([3, 7, 12, 18]) * 1e-3


def voxels(times, frequency, offset, noise_level, seed=0):
    rng = np.random.default_rng(seed)
    signal = np.exp(-25 * times + 1j * (offset[:, None] + 2 * np.pi * frequency[:, None] * times))
    signal = signal + noise_level * (
        rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
    )
    return signal, np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)


@pytest.mark.parametrize("times", [EVEN, UNEVEN])
def test_agrees_with_an_independent_complex_fit(times):
    rng = np.random.default_rng(1)
    frequency = rng.uniform(-90, 90, 12)
    offset = rng.uniform(-3, 3, 12)
    noise_level = 0.02
    signal, magnitude, phase = voxels(times, frequency, offset, noise_level)
    found = fit_echoes(magnitude, phase, times, np.ones(12, bool), noise_level=noise_level)
    for v in range(12):

        def residual(p, v=v):
            model = p[0] * np.exp(-p[1] * times + 1j * (p[2] + 2 * np.pi * p[3] * times))
            return np.concatenate([(signal[v] - model).real, (signal[v] - model).imag])

        best = least_squares(residual, [1, 25, offset[v], frequency[v]], x_scale=[1, 25, 1, 5])
        bound = noise_level * np.sqrt(np.linalg.inv(best.jac.T @ best.jac)[3, 3])
        # the two fits differ only in the magnitude that weights an echo: measured here, modelled there
        assert abs(found.frequency[v] - best.x[3]) < 0.2 * bound
        assert abs(wrapped(found.offset[v] - best.x[2])) < 0.2 * noise_level * 2


def test_uneven_echoes_resolve_frequencies_beyond_their_closest_spacing():
    # 1/4 ms is 250 Hz; all spacings together repeat at 1000 Hz only
    frequency = np.linspace(-350, 350, 701)
    _, magnitude, phase = voxels(UNEVEN, frequency, np.full(701, 0.7), 0.01)
    found = fit_echoes(magnitude, phase, UNEVEN, np.ones(701, bool), noise_level=0.01)
    assert np.mean(np.abs(found.frequency - frequency) < 2) > 0.99


def test_even_echoes_give_the_frequency_modulo_their_spacing():
    frequency = np.linspace(-400, 400, 801)
    _, magnitude, phase = voxels(EVEN, frequency, np.zeros(801), 0.01)
    found = fit_echoes(magnitude, phase, EVEN, np.ones(801, bool), noise_level=0.01)
    alias = (found.frequency - frequency) / 200
    assert np.abs(alias - np.rint(alias)).max() * 200 < 2


def test_information_is_the_inverse_variance():
    count = 20_000
    _, magnitude, phase = voxels(EVEN, np.full(count, 30.0), np.full(count, 1.0), 0.03)
    found = fit_echoes(magnitude, phase, EVEN, np.ones(count, bool), noise_level=0.03)
    sw, swt, swtt = found.information.T
    expected = 0.03 * np.sqrt(np.mean(sw / (sw * swtt - swt**2)))
    assert found.frequency.std() == pytest.approx(expected, rel=0.05)


def test_unselected_voxels_stay_zero():
    _, magnitude, phase = voxels(EVEN, np.full(10, 30.0), np.full(10, 1.0), 0.03)
    selected = np.arange(10) < 5
    found = fit_echoes(magnitude, phase, EVEN, selected)
    assert not found.frequency[5:].any()
    assert found.frequency[:5].all()
