"""Smoothing against the library's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from qsmxt_app.qsm.smoothing import STRIP, local_mean, smooth


@pytest.mark.parametrize("shape", [(7, 5, 9), (3, 40, STRIP // 20), (1, 2, 30)])
@pytest.mark.parametrize("sigma", [(1.0, 2.0, 0.4), (0.1, 6.0, 3.0)])
@pytest.mark.parametrize(("hold", "mode"), [(False, "constant"), (True, "nearest")])
def test_smooth_is_the_library_filter(shape, sigma, hold, mode):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = ndimage.gaussian_filter(image, sigma, mode=mode, truncate=3.0)
    for ordered in (image, np.asfortranarray(image)):
        np.testing.assert_allclose(smooth(ordered, sigma, hold=hold), expected, atol=1e-6)


@pytest.mark.parametrize("radius", [1, 2])
def test_local_mean_is_the_library_filter(radius):
    image = np.random.default_rng(0).standard_normal((7, 12, 9)).astype(np.float32)
    expected = ndimage.uniform_filter(image, 2 * radius + 1, mode="nearest")
    np.testing.assert_allclose(local_mean(image, radius), expected, atol=1e-6)
