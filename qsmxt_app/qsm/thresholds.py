"""Thresholds between signal and background, from the histogram of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray

BINS = 256
BLANK = 1e-3


def _histogram(values: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if values.size == 0 or not float(values.max()) > float(values.min()):
        raise ValueError(
            "the image has one value everywhere, no threshold divides it: give a mask or a fixed threshold"
        )
    counts, edges = np.histogram(values, bins=BINS)
    return counts.astype(float), (edges[:-1] + edges[1:]) / 2


def otsu_threshold(values: FloatArray) -> float:
    """Threshold that maximises the variance between the two classes it makes.

    Parameters
    ----------
    values : ndarray
        Values of any shape, finite.

    Returns
    -------
    float
        Centre of the last histogram bin of the lower class; what lies above is signal.

    Raises
    ------
    ValueError
        If all values are the same.

    References
    ----------
    Otsu N. A threshold selection method from gray-level histograms. IEEE Trans Syst Man Cybern 9:62-66
    (1979).
    """
    counts, centres = _histogram(values)
    below = np.cumsum(counts)
    sum_below = np.cumsum(counts * centres)
    above = below[-1] - below
    # bins that leave a class empty cannot divide; the last one always does
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sum_below / below - (sum_below[-1] - sum_below) / above) ** 2
    return float(centres[np.nanargmax(between[:-1])])


def gaussian_threshold(values: FloatArray, iterations: int = 200) -> float:
    """Threshold at which two Gaussians fitted to the histogram, background and signal, are equally likely.

    The histogram is that of the logarithm: noise and signal differ by a factor, and on a linear scale the
    noise of a scanner that masks its air is narrower than any bin. The fit is expectation maximisation on the
    histogram, started from Otsu's division. How frequent background is pulls this threshold less than Otsu's.

    Parameters
    ----------
    values : ndarray
        Values of any shape, finite. What lies below a thousandth of the largest is not background but blank.
    iterations
        Steps of expectation maximisation.

    Returns
    -------
    float
        Value between the two means where the weighted densities cross.

    Raises
    ------
    ValueError
        If all values are the same.

    References
    ----------
    Dempster AP, Laird NM, Rubin DB. J R Stat Soc B 39:1-38 (1977). A threshold from Gaussians fitted to the
    histogram serves QSM in Stewart AW, et al. QSMxT: robust masking and artifact reduction for quantitative
    susceptibility mapping. Magn Reson Med 87:1289-1300 (2022).
    """
    logarithms = np.log(values[values > BLANK * values.max()])
    counts, centres = _histogram(logarithms)
    width = centres[1] - centres[0]
    signal = (centres > np.log(otsu_threshold(values))).astype(float)
    for _ in range(iterations):
        classes = [_weighted_gaussian(counts * share, centres, width) for share in (1 - signal, signal)]
        log_density = [
            np.log(total) - 0.5 * np.log(variance) - 0.5 * (centres - mean) ** 2 / variance
            for total, mean, variance in classes
        ]
        signal = 1 / (1 + np.exp(np.clip(log_density[0] - log_density[1], -700, 700)))
    means = [mean for _, mean, _ in classes]
    crossing = centres[(centres > means[0]) & (centres <= means[1]) & (signal >= 0.5)]
    return float(np.exp(crossing[0] if crossing.size else np.mean(means)))


def _weighted_gaussian(
    weights: NDArray[np.float64], centres: NDArray[np.float64], width: float
) -> tuple[float, float, float]:
    total = max(float(weights.sum()), 1e-12)
    mean = float((weights * centres).sum()) / total
    # values spread within their bins (Sheppard's term), so that no class gets a width of nothing
    variance = float((weights * (centres - mean) ** 2).sum()) / total + width**2 / 12
    return total, mean, variance


def percentile_threshold(values: FloatArray, percentile: float) -> float:
    """Threshold below which a given percentage of all values lies.

    Parameters
    ----------
    values : ndarray
        Values of any shape, finite.
    percentile
        Percentage between 0 and 100.

    Returns
    -------
    float
        The percentile.

    Raises
    ------
    ValueError
        If the percentage is not between 0 and 100.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {percentile}")
    return float(np.percentile(values, percentile))
