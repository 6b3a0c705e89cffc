import numpy as np
import pytest

from qsmxt_app.group.longitudinal import common_labels, fit_change, regional_changes, session_times


def test_labels_are_shared_where_most_scans_agree() -> None:
    two = [np.array([1, 1, 0, 2]), np.array([1, 2, 3, 2])]
    assert common_labels(two).tolist() == [1, 0, 0, 2]
    assert common_labels([*two, np.array([1, 2, 3, 0])]).tolist() == [1, 2, 3, 2]


def test_years_need_all_times() -> None:
    times = {"A": "2020-01-01T00:00:00", "B": "2021-12-31T12:00:00"}
    years, unit = session_times(["A", "B"], times)
    assert (years, unit) == (pytest.approx([0, 2]), "year")
    assert session_times(["A", "B", "C"], times) == ([0, 1, 2], "session")
    assert session_times(["A", "B"], dict.fromkeys("AB", times["A"]))[1] == "session"


def test_the_error_of_the_change_is_that_of_the_noise() -> None:
    """White noise of which as much is independent as the error assumes."""
    labels = np.ones((20, 20, 20), np.int32)
    noise = np.full(labels.shape, 0.02, np.float32)
    rng, z = np.random.default_rng(3), []
    for _ in range(100):
        blocks = [np.kron(rng.normal(0, 0.02, (10, 10, 10)), np.ones((2, 2, 2))) for _ in range(3)]
        maps = [0.05 + 0.003 * year + block for year, block in zip((0, 1, 3), blocks, strict=True)]
        found = regional_changes(maps, [noise] * 3, labels, [0.0, 1.0, 3.0])[1]
        z.append((found.change - 0.003) / found.error)
    assert abs(np.mean(z)) < 0.35
    assert 0.8 < np.std(z) < 1.2


def test_scans_with_more_noise_weigh_less() -> None:
    times = np.array([0.0, 1.0, 1.0])
    slope, _ = fit_change(times, np.array([0.0, 1.0, 3.0]), np.array([0.1, 0.1, 10.0]))
    assert slope == pytest.approx(1, abs=0.01)
    slope, error = fit_change(times, np.array([0.0, 1.0, 3.0]), None)
    assert slope == pytest.approx(2)
    assert np.isnan(error)
