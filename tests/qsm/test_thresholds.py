import numpy as np
import pytest
from scipy import optimize, stats

from qsmxt_app.qsm.thresholds import gaussian_threshold, otsu_threshold, percentile_threshold


@pytest.fixture
def two_classes():
    random = np.random.default_rng(11)
    background = np.abs(random.normal(0, 0.05, 60_000)) + 0.01
    signal = random.normal(1.0, 0.12, 25_000)
    return np.concatenate([background, signal]).astype(np.float32)


def test_otsu_agrees_with_an_independent_implementation(two_classes):
    filters = pytest.importorskip("skimage.filters")
    for scale in (1e-3, 1, 1e4):
        values = np.float32(scale) * two_classes
        assert otsu_threshold(values) == float(filters.threshold_otsu(values))


def test_otsu_of_two_spikes_lies_between_them():
    values = np.repeat(np.float32([1, 5]), [300, 100])
    assert 1 <= otsu_threshold(values) < 5


@pytest.mark.parametrize(("background_width", "signal_width"), [(0.4, 0.4), (0.7, 0.15)])
def test_gaussian_threshold_lies_where_densities_cross(background_width, signal_width):
    random = np.random.default_rng(12)
    background = stats.norm(np.log(0.05), background_width)
    signal = stats.norm(0.0, signal_width)
    values = np.exp(
        np.concatenate([background.rvs(90_000, random_state=random), signal.rvs(10_000, random_state=random)])
    )
    crossing = optimize.brentq(lambda x: 0.9 * background.pdf(x) - 0.1 * signal.pdf(x), np.log(0.05), 0.0)
    assert gaussian_threshold(values) == pytest.approx(np.exp(crossing), rel=0.05)


def test_gaussian_threshold_ignores_how_much_air_a_scanner_blanks(two_classes):
    blanked = np.concatenate([two_classes, np.zeros(500_000, np.float32)])
    assert gaussian_threshold(blanked) == pytest.approx(gaussian_threshold(two_classes), rel=1e-6)


def test_percentile_of_known_values():
    assert percentile_threshold(np.arange(101, dtype=np.float32), 30) == pytest.approx(30, abs=1e-4)


@pytest.mark.parametrize("percentile", [-1, 100.5])
def test_percentile_out_of_range(percentile):
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile_threshold(np.arange(10, dtype=np.float32), percentile)


@pytest.mark.parametrize("find", [otsu_threshold, gaussian_threshold])
def test_constant_image_has_no_threshold(find):
    with pytest.raises(ValueError, match="one value everywhere"):
        find(np.full(100, 3, np.float32))
