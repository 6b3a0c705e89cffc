import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import rice

from qsmxt_app.qsm.relaxation import fit_relaxation, has_tissue_signal

TIMES = np.array([4, 9, 14, 19, 24]) * 1e-3


def decay(r2star, s0=1.0, times=TIMES, shape=(20, 20, 20), noise_level=0.0, seed=0):
    rng = np.random.default_rng(seed)
    signal = s0 * np.exp(-np.asarray(r2star)[..., None] * times) * np.ones((*shape, 1))
    noise = rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
    return np.abs(signal + noise_level * noise).astype(np.float32)


def test_noiseless_decay_is_exact():
    rates = np.linspace(1, 150, 8000).reshape(20, 20, 20)
    found = fit_relaxation(decay(rates, 3.0), TIMES, mask=np.ones((20, 20, 20), bool), noise_level=0.0)
    np.testing.assert_allclose(found.r2star, rates, rtol=2e-4, atol=1e-3)
    np.testing.assert_allclose(found.t2star, 1 / rates, rtol=2e-4)
    np.testing.assert_allclose(found.s0, 3.0, rtol=2e-4)


@pytest.mark.parametrize(("rate", "noise_level"), [(10, 0.02), (40, 0.02), (120, 0.02), (40, 0.05)])
def test_mean_is_unbiased_and_spread_is_the_cramer_rao_bound(rate, noise_level):
    magnitude = decay(rate, noise_level=noise_level)
    found = fit_relaxation(magnitude, TIMES, mask=np.ones(magnitude.shape[:3], bool), noise_level=noise_level)
    jacobian = np.stack([np.exp(-rate * TIMES), -TIMES * np.exp(-rate * TIMES)], axis=1)
    bound = noise_level * np.sqrt(np.linalg.inv(jacobian.T @ jacobian)[1, 1])
    assert abs(found.r2star.mean() - rate) < 0.12 * bound + 4 * bound / np.sqrt(8000)
    assert found.r2star.std() == pytest.approx(bound, rel=0.15)


def test_decay_into_the_noise_floor_is_not_taken_for_a_slow_one():
    magnitude = decay(200, noise_level=0.02)
    inside = np.ones(magnitude.shape[:3], bool)
    aware = np.median(fit_relaxation(magnitude, TIMES, mask=inside, noise_level=0.02).r2star)
    naive = np.median(fit_relaxation(magnitude, TIMES, mask=inside, noise_level=0.0).r2star)
    assert naive < 192
    assert abs(aware - 200) < 0.3 * abs(naive - 200)


def test_agrees_with_an_independent_solver():
    noise_level = 0.03
    magnitude = decay(60, noise_level=noise_level, shape=(5, 2, 2), seed=4)
    found = fit_relaxation(magnitude, TIMES, mask=np.ones((5, 2, 2), bool), noise_level=noise_level)
    for index in np.ndindex(5, 2, 2):
        measured = magnitude[index].astype(float)

        def misfit(p, measured=measured):
            return rice.mean(p[0] * np.exp(-p[1] * TIMES) / noise_level, scale=noise_level) - measured

        best = least_squares(misfit, [1.0, 50.0], x_scale=[1, 50], bounds=([0, 0], [10, 900]))
        assert found.r2star[index] == pytest.approx(best.x[1], abs=0.6)


def test_noise_level_is_found_and_outside_is_zero():
    magnitude = decay(30, noise_level=0.01)
    mask = np.zeros(magnitude.shape[:3], bool)
    mask[4:16, 4:16, 4:16] = True
    found = fit_relaxation(magnitude, TIMES, mask=mask)
    assert abs(found.r2star[mask].mean() - 30) < 0.2
    assert not found.r2star[~mask].any()
    assert not found.s0[~mask].any()


def test_two_echoes_give_the_ratio():
    magnitude = decay(30, times=TIMES[:2])
    found = fit_relaxation(magnitude, TIMES[:2], mask=np.ones(magnitude.shape[:3], bool), noise_level=0.0)
    np.testing.assert_allclose(found.r2star, 30, rtol=1e-3)


def test_dead_voxels_are_zero_not_nan():
    magnitude = decay(30)
    magnitude[0, 0, 0] = 0
    magnitude[1, 1, 1, 1:] = 0
    found = fit_relaxation(magnitude, TIMES, mask=np.ones(magnitude.shape[:3], bool), noise_level=0.01)
    for image in (found.r2star, found.t2star, found.s0):
        assert np.isfinite(image).all()
    assert found.r2star[0, 0, 0] == 0


def test_bad_input_is_refused():
    magnitude = decay(30, shape=(4, 4, 4))
    mask = np.ones((4, 4, 4), bool)
    with pytest.raises(ValueError, match="at least two echoes"):
        fit_relaxation(magnitude[..., :1], TIMES[:1], mask=mask)
    with pytest.raises(ValueError, match="ascending"):
        fit_relaxation(magnitude, TIMES[::-1], mask=mask)
    with pytest.raises(ValueError, match="shape"):
        fit_relaxation(magnitude, TIMES, mask=mask[:3])
    with pytest.raises(ValueError, match="empty"):
        fit_relaxation(magnitude, TIMES, mask=np.zeros_like(mask))
    with pytest.raises(ValueError, match="echo"):
        fit_relaxation(magnitude, TIMES[:3], mask=mask)
    magnitude[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fit_relaxation(magnitude, TIMES, mask=mask)


def test_blood_has_the_signal_of_tissue_and_half_a_voxel_of_bone_has_not():
    x = np.indices((24, 24, 24))[0]
    rates, sizes = np.where(x == 8, 80.0, 20.0), np.where(x == 16, 0.45, 1.0)
    sizes[x > 20] = 0.0
    magnitude = decay(rates, 1.0, shape=(24, 24, 24)) * sizes[..., None].astype(np.float32)
    noise = np.abs(np.random.default_rng(1).normal(0, 0.02, magnitude.shape)).astype(np.float32)
    tissue = has_tissue_signal(magnitude + noise, TIMES, (2.0, 2.0, 2.0))
    inner = tissue[:, 3:-3, 3:-3]
    assert inner[8].all()
    assert not inner[16].any()
    assert not inner[21:].any()
    assert inner[3:8].all()
    assert not tissue[:3].any()


def test_a_single_echo_does_not_tell_tissue_from_what_has_decayed():
    magnitude = np.ones((18, 18, 18, 1), np.float32)
    assert not has_tissue_signal(magnitude, [0.02], (2.0, 2.0, 2.0)).any()
