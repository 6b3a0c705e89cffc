"""Every method finds sources that are known, and the parts before them what theory says."""

import numpy as np
import pytest

from qsmxt_app.qsm.separation import SEPARATION_METHODS
from qsmxt_app.qsm.separation.closed_form import closed_form
from qsmxt_app.qsm.separation.fluid import fluid_susceptibility
from qsmxt_app.qsm.separation.reversible import relaxivity, reversible_relaxation, typical_r2
from qsmxt_app.qsm.separation.separate import separate_sources

SHAPE, SIZE, B0 = (30, 28, 26), (2.0, 2.0, 2.2), (0.0, 0.6, 0.8)
RATE = relaxivity(3.0)
TIMES = (0.005, 0.010, 0.015, 0.020, 0.025)


@pytest.fixture(scope="module")
def truth():
    """A ball of white matter with a nucleus rich in iron, and one with as much iron as calcium."""
    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in SHAPE], indexing="ij")
    mask = x**2 + y**2 + z**2 < 120
    plus, minus = np.where(mask, 0.02, 0.0), np.where(mask, 0.05, 0.0)
    nucleus, mixed = (x - 4) ** 2 + y**2 + z**2 < 9, (x + 5) ** 2 + y**2 + z**2 < 9
    plus[nucleus], minus[nucleus] = 0.13, 0.01
    plus[mixed], minus[mixed] = 0.10, 0.10
    return {"mask": mask, "plus": plus, "minus": minus, "nucleus": nucleus, "mixed": mixed}


def data(truth, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    chi = truth["plus"] - truth["minus"] + 0.2 * noise * rng.standard_normal(SHAPE)
    r2prime = RATE * (truth["plus"] + truth["minus"] + noise * rng.standard_normal(SHAPE))
    return {
        "r2prime": np.maximum(r2prime, 0).astype(np.float32),
        "r2star": 2 * np.maximum(r2prime, 0).astype(np.float32),
        "r2prime_noise": np.full(SHAPE, max(noise, 1e-3) * RATE, np.float32),
        "chi_noise": np.full(SHAPE, 0.2 * max(noise, 1e-3), np.float32),
        "relaxivity": RATE,
        "magnitude": (100 * truth["mask"] * (1 - truth["plus"])).astype(np.float32),
        "voxel_size": SIZE,
        "b0_direction": B0,
        "threads": 1,
    }, chi.astype(np.float32)


def error(found, truth):
    inside = truth["mask"]
    return [
        np.linalg.norm((image - true)[inside]) / np.linalg.norm(true[inside])
        for image, true in ((found.paramagnetic, truth["plus"]), (found.diamagnetic, truth["minus"]))
    ]


@pytest.mark.parametrize("name", SEPARATION_METHODS)
def test_noiseless_sources_are_found(truth, name):
    known, chi = data(truth)
    found = SEPARATION_METHODS[name](chi, truth["mask"], **known)
    assert max(error(found, truth)) < (1e-5 if name == "closed_form" else 0.05)
    assert min(found.paramagnetic.min(), found.diamagnetic.min()) >= 0
    assert not found.paramagnetic[~truth["mask"]].any()


def test_joint_halves_the_error_of_noise(truth):
    known, chi = data(truth, noise=0.012)
    plain = error(SEPARATION_METHODS["closed_form"](chi, truth["mask"], **known), truth)
    better = error(SEPARATION_METHODS["joint"](chi, truth["mask"], **known), truth)
    assert max(np.divide(better, plain)) < 0.5


def test_joint_believes_chi_where_r2prime_is_an_outlier(truth):
    """A vein whose own R2' is a third of what its chi would cause has no diamagnetic part."""
    known, chi = data(truth, noise=0.003)
    vein = np.zeros(SHAPE, bool)
    vein[15, 14, 5:20] = True
    chi[vein], known["r2prime"][vein] = 0.36, 17.0
    found = SEPARATION_METHODS["joint"](chi, truth["mask"], **known)
    assert found.diamagnetic[vein].mean() < 0.01
    assert found.paramagnetic[vein].mean() > 0.3
    # and where R2' is too large, beside air, both sources gain less than half of what R2' suggests
    known["r2prime"][vein], chi[vein] = 90.0, -0.03
    found = SEPARATION_METHODS["joint"](chi, truth["mask"], **known)
    closed = SEPARATION_METHODS["closed_form"](chi, truth["mask"], **known)
    assert found.diamagnetic[vein].mean() - 0.05 < 0.5 * (closed.diamagnetic[vein].mean() - 0.05)


def test_joint_gives_the_same_bytes_twice(truth):
    known, chi = data(truth, noise=0.01)
    twice = [SEPARATION_METHODS["joint"](chi, truth["mask"], **known).paramagnetic for _ in range(2)]
    assert twice[0].tobytes() == twice[1].tobytes()


def test_joint_refuses_what_it_cannot_use(truth):
    known, chi = data(truth)
    with pytest.raises(ValueError, match="relaxivity must be positive"):
        SEPARATION_METHODS["joint"](chi, truth["mask"], **known | {"relaxivity": 0.0})
    with pytest.raises(ValueError, match="the mask is empty"):
        SEPARATION_METHODS["joint"](chi, np.zeros(SHAPE, bool), **known)


def test_closed_form_has_no_negative_sources():
    chi, r2prime = np.array([0.1, -0.1, 0.0]), RATE * np.array([0.05, 0.05, 0.05])
    found = closed_form(chi, np.ones(3, bool), r2prime=r2prime, relaxivity=RATE)
    np.testing.assert_allclose(found.paramagnetic, [0.075, 0, 0.025], atol=1e-7)
    np.testing.assert_allclose(found.diamagnetic, [0, 0.075, 0.025], atol=1e-7)


def test_relaxation_of_the_field_s_slope_is_taken_out():
    """The signal of voxels across which the field grows by 10 Hz is a sinc."""
    times = np.asarray(TIMES)
    mask = np.ones((12, 10, 8), bool)
    field = np.broadcast_to(10.0 * np.arange(12)[:, None, None], mask.shape)
    magnitude = (100 * np.exp(-25 * times) * np.sinc(10 * times)) * np.ones((*mask.shape, 1))
    r2 = np.where(np.arange(8) < 4, 13.0, 0.0) * np.ones(mask.shape)
    found = reversible_relaxation(
        magnitude.astype(np.float32), r2, mask, field=field, echo_times=TIMES, field_strength=3.0
    )
    np.testing.assert_allclose(found.r2prime[..., :4], 12.0, atol=0.05)
    np.testing.assert_allclose(found.r2prime[..., 4:], 25 - typical_r2(3.0), atol=0.05)
    assert found.measured == 0.5
    flat = reversible_relaxation(
        magnitude.astype(np.float32), r2, mask, field=0 * field, echo_times=TIMES, field_strength=3.0
    )
    assert found.noise[5, 5, 2] > flat.noise[5, 5, 2]
    assert flat.noise[5, 5, 6] == 2 * flat.noise[5, 5, 2]


def test_fluid_of_the_ventricles_is_the_reference():
    mask = np.ones((30, 30, 30), bool)
    r2star, chi = np.full(mask.shape, 20.0), np.full(mask.shape, -0.03)
    r2star[12:18, 12:18, 12:18], chi[12:18, 12:18, 12:18] = 2.0, 0.007
    r2star[:3], chi[:3] = 2.0, 0.4  # at the surface
    known = {"voxel_size": (2.0, 2.0, 2.0), "field_strength": 3.0}
    value, volume = fluid_susceptibility(chi, r2star, mask, **known)
    assert value == pytest.approx(0.007)
    assert 0.5 < volume < 2
    value, volume = fluid_susceptibility(chi, np.full(mask.shape, 20.0), mask, **known)
    assert (value, volume) == (None, 0)


def test_a_scan_is_separated_and_says_how(truth):
    times = np.asarray(TIMES)
    r2star = 12 + RATE * (truth["plus"] + truth["minus"])
    magnitude = (truth["mask"][..., None] * 100 * np.exp(-r2star[..., None] * times)).astype(np.float32)
    scan = {
        "r2star": r2star, "magnitude": magnitude, "total_field": np.zeros(SHAPE),
        "field_noise": np.full(SHAPE, 5e-4), "echo_times": TIMES, "voxel_size": SIZE, "b0_direction": B0,
        "field_strength": 3.0, "method": "joint", "threads": 1,
    }  # fmt: skip
    chi = (truth["plus"] - truth["minus"]).astype(np.float32)
    measured = separate_sources(chi, truth["mask"], r2=np.full(SHAPE, 12.0), **scan)
    assert max(error(measured.sources, truth)) < 0.1
    assert measured.facts["r2_measured_share"] == 1
    assert len(measured.facts["warnings"]) == 1  # there is no fluid
    substituted = separate_sources(chi, truth["mask"], r2=None, **scan)
    assert substituted.facts["r2_measured_share"] == 0
    assert "qualitative in white matter" in substituted.facts["warnings"][-1]
