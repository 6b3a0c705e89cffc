import numpy as np
import pytest

from qsmxt_app.group.running import RunningStatistics, masked_mean


def test_agrees_with_all_images_in_memory_at_once() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(5, 2, (7, 4, 5, 6)).astype(np.float32)
    inside = rng.random(images.shape) < 0.6
    inside[:, 0, 0, 0], inside[:, 1, 1, 1] = False, False
    inside[2, 1, 1, 1] = True
    statistics = RunningStatistics((4, 5, 6))
    for image, known in zip(images, inside, strict=True):
        statistics.add(image, known)
    expected = np.ma.masked_array(images, ~inside)
    np.testing.assert_array_equal(statistics.count, inside.sum(axis=0))
    np.testing.assert_allclose(statistics.mean, expected.mean(axis=0).filled(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.std, expected.std(axis=0, ddof=1).filled(0), rtol=1e-5, atol=1e-7)
    assert statistics.mean[0, 0, 0] == statistics.std[0, 0, 0] == statistics.std[1, 1, 1] == 0


def test_variance_survives_a_large_offset() -> None:
    statistics = RunningStatistics((1,))
    for value in (1e6, 1e6 + 1, 1e6 + 2):
        statistics.add(np.array([value]))
    np.testing.assert_allclose(statistics.std, [1.0], rtol=1e-6)


def test_what_is_not_finite_does_not_count() -> None:
    statistics = RunningStatistics((2,))
    statistics.add(np.array([np.nan, 1.0]))
    statistics.add(np.array([4.0, np.inf]))
    np.testing.assert_array_equal(statistics.count, [1, 1])
    np.testing.assert_array_equal(statistics.mean, [4.0, 1.0])


def test_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match="shape"):
        RunningStatistics((2,)).add(np.zeros(3))


def test_scans_of_a_participant_count_where_they_are_known() -> None:
    mean, known = masked_mean(
        [
            (np.array([1.0, 2.0, 9.0]), np.array([True, True, False])),
            (np.array([3.0, 7.0, 9.0]), np.array([True, False, False])),
        ]
    )
    np.testing.assert_array_equal(mean, [2.0, 2.0, 0.0])
    np.testing.assert_array_equal(known, [True, True, False])
