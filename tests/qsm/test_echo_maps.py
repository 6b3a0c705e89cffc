import numpy as np
import pytest

from qsmxt_app.qsm.echo_maps import average_echoes, for_each_echo


@pytest.fixture
def echoes():
    """Truth, and three measurements of it with known noise."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 20, 20)).astype(np.float32)
    noise = np.broadcast_to(np.float32([0.3, 0.1, 0.2]), (*truth.shape, 3)).copy()
    return truth, truth[..., None] + noise * rng.standard_normal(noise.shape, np.float32), noise


def test_weights_by_noise_give_the_least_error(echoes):
    truth, maps, noise = echoes
    plain = average_echoes(maps, noise, "plain")
    weighted = average_echoes(maps, noise)
    np.testing.assert_allclose(plain.mean, maps.mean(axis=-1), atol=1e-6)
    np.testing.assert_allclose(plain.spread, maps.std(axis=-1), atol=1e-6)
    expected = np.sqrt(1 / (noise[0, 0, 0] ** -2.0).sum())
    assert (weighted.mean - truth).std() == pytest.approx(expected, rel=0.05)
    assert (plain.mean - truth).std() > 1.3 * expected


@pytest.mark.parametrize("average", ["noise", "plain"])
@pytest.mark.parametrize("unknown", [np.inf, np.nan, 0.0])
def test_an_echo_of_unknown_noise_weighs_nothing(echoes, average, unknown):
    _, maps, noise = echoes
    noise[0, 0, 0] = [0.1, unknown, 0.1]
    noise[1, 1, 1] = unknown
    mean = average_echoes(maps, noise, average).mean
    assert mean[0, 0, 0] == pytest.approx(maps[0, 0, 0, [0, 2]].mean(), abs=1e-6)
    assert mean[1, 1, 1] == pytest.approx(maps[1, 1, 1].mean(), abs=1e-6)


def test_the_unit_of_the_noise_does_not_matter(echoes):
    _, maps, noise = echoes
    first, second = average_echoes(maps, noise), average_echoes(maps, noise * np.float32(1e-25))
    np.testing.assert_allclose(first.mean, second.mean, atol=1e-6)


def test_a_function_is_applied_to_each_echo(echoes):
    truth, maps, _ = echoes
    np.testing.assert_array_equal(for_each_echo(np.subtract, truth, truth), truth - truth)
    found = for_each_echo(lambda one, other: one - other.mean(), maps, maps)
    np.testing.assert_array_equal(found[..., 1], maps[..., 1] - maps[..., 1].mean())


def test_bad_input_is_named(echoes):
    truth, maps, noise = echoes
    with pytest.raises(ValueError, match="differ in shape"):
        average_echoes(maps, noise[..., :2])
    with pytest.raises(ValueError, match="differ in shape"):
        average_echoes(truth, truth)
    with pytest.raises(ValueError, match="median"):
        average_echoes(maps, noise, "median")
