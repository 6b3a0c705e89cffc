"""Shading of a head of three tissues, against the field that it was made with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmxt_app.registration import Image
from qsmxt_app.segment.shading import estimate_shading
from qsmxt_app.workflows.resources import limited_threads

SHAPE = (45, 55, 45)


def head(strength: float) -> tuple[Image, np.ndarray, np.ndarray]:
    """An image of 4 mm, its shading, and the mask of a ball."""
    rng = np.random.default_rng(0)
    x, y, z = np.indices(SHAPE) / 50.0
    mask = (x - 0.45) ** 2 + (y - 0.55) ** 2 + (z - 0.45) ** 2 < 0.4**2
    lumps = gaussian_filter(rng.standard_normal(SHAPE), 3)
    tissue = np.select([lumps > 0.03, lumps > -0.02], [100.0, 70.0], 30.0)
    shading = np.exp(strength * (np.sin(2 * x) + 0.6 * y * z))
    noisy = np.where(mask, tissue + 2 * rng.standard_normal(SHAPE), 0)
    image = Image((noisy * shading).clip(0).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
    return image, shading, mask


def variation(values: np.ndarray) -> float:
    return float(values.std() / values.mean())


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_most_of_the_shading_is_found(strength: float) -> None:
    image, shading, mask = head(strength)
    found = estimate_shading(image, mask)
    rest = variation((found.array / shading)[mask])
    assert rest < 0.02
    assert rest < variation(shading[mask]) / 3
    assert np.log(found.array[mask & (image.array > 0)]).mean() == pytest.approx(0, abs=1e-5)


def test_an_even_image_stays_even() -> None:
    image, _, mask = head(0.0)
    assert variation(estimate_shading(image, mask).array[mask]) < 0.01


def test_threads_change_no_byte_and_an_empty_mask_has_no_shading() -> None:
    image, _, mask = head(0.5)
    found = estimate_shading(image, mask).array
    with limited_threads(1):
        assert estimate_shading(image, mask).array.tobytes() == found.tobytes()
    assert (estimate_shading(image, np.zeros_like(mask)).array == 1).all()
