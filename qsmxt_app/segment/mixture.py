"""A mixture of Gaussians whose means differ from voxel to voxel: the two steps of its estimation."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qsmxt_app.arrays import FloatArray

_LEAST_NEIGHBOURS = np.float32(0.05)
"""Added to the share of neighbours: they have a say and no veto."""


@njit(cache=True, nogil=True)
def posteriors(
    values: FloatArray,
    logarithm: FloatArray,
    expected: FloatArray,
    spread: FloatArray,
    around: FloatArray,
    least: FloatArray,
    posterior: FloatArray,
) -> None:  # pragma: no cover
    """Compute how probable each class is in each voxel.

    Parameters
    ----------
    values : ndarray (voxels,)
        Brightness.
    logarithm : ndarray (classes, voxels)
        Of the prior probability.
    expected : ndarray (classes, voxels)
        Brightness of a class there.
    spread : ndarray (classes,)
        Standard deviation of its brightness.
    around : ndarray (classes, voxels)
        Share of a class among the neighbours; no voxels: neighbours do not count.
    least : ndarray (classes,)
        What the logarithm must exceed for a class to be possible in a voxel.
    posterior : ndarray (classes, voxels)
        Filled with the result.
    """
    counts = around.shape[1] > 0
    evidence = np.empty(spread.size, np.float32)
    width = np.log(spread)
    for v in range(values.size):
        most = np.float32(-np.inf)
        for n in range(spread.size):
            if logarithm[n, v] <= least[n]:
                evidence[n] = np.float32(-np.inf)
                continue
            off = (values[v] - expected[n, v]) / spread[n]
            found = logarithm[n, v] - width[n] - np.float32(0.5) * off * off
            if counts:
                found += math.log(around[n, v] + _LEAST_NEIGHBOURS)
            evidence[n] = found
            most = max(most, found)
        # the likeliest is 1 before the division, so that nothing underflows
        total = np.float32(0)
        for n in range(spread.size):
            if evidence[n] == np.float32(-np.inf):
                evidence[n] = 0
                continue
            evidence[n] = math.exp(evidence[n] - most)
            total += evidence[n]
        for n in range(spread.size):
            posterior[n, v] = evidence[n] / total


@njit(cache=True, nogil=True)
def moments(values: FloatArray, posterior: FloatArray, sums: FloatArray) -> None:  # pragma: no cover
    """Sum up what mean and spread of each class's brightness need.

    Parameters
    ----------
    values : ndarray (voxels,)
        Brightness.
    posterior : ndarray (classes, voxels)
        Probability of the classes.
    sums : ndarray (classes, 3), float64
        Filled with the sums of the probability, and of its products with the brightness and its square.
    """
    for n in range(posterior.shape[0]):
        weight, first, second = 0.0, 0.0, 0.0
        for v in range(values.size):
            share = np.float64(posterior[n, v])
            weight += share
            first += share * values[v]
            second += share * values[v] * values[v]
        sums[n, 0], sums[n, 1], sums[n, 2] = weight, first, second
