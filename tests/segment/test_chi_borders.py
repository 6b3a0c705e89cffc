"""Borders that a map of chi settles: a pallidum drawn too large and off its place, beside a putamen."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmxt_app.registration import Grid, Image, Transform
from qsmxt_app.segment.chi_borders import refine_borders_with_chi
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.scan_labels import labels_on_scan

WHITE, PUTAMEN, PALLIDUM, NIGRA = 1, 2, 3, 4
REGIONS = (
    Region(WHITE, "frontal-white-matter", "", "white"),
    Region(PUTAMEN, "putamen", "", "nucleus"),
    Region(PALLIDUM, "globus-pallidus-external", "", "nucleus"),
    Region(NIGRA, "substantia-nigra", "", "nucleus"),
)
NUCLEI = ("globus-pallidus-external", "substantia-nigra")
CHI = np.array([0.0, -0.03, 0.055, 0.13, 0.13])
SHAPE = (40, 40, 40)


def drawn(radius: float, shift: float = 0.0, *, nigra: bool = False) -> np.ndarray:
    """White matter, in it a putamen, and a ball that is a quarter of the way into the putamen's side."""
    x, y, z = np.indices(SHAPE)
    labels = np.full(SHAPE, WHITE, np.int32)
    labels[(x - 14) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < 9**2] = PUTAMEN
    labels[(x - 24 - shift) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < radius**2] = PALLIDUM
    if nigra:
        labels[20, 20, 36] = NIGRA
    return labels


def map_of(labels: np.ndarray, offset: float = 0.0) -> Image:
    noise = 0.012 * np.random.default_rng(5).standard_normal(SHAPE)
    chi = gaussian_filter(CHI[labels] + offset, 0.5) + noise
    return Image(chi.astype(np.float32), np.eye(4))


def settled(labels: np.ndarray, chi: Image, mask: np.ndarray | None = None) -> np.ndarray:
    full, everywhere = np.ones(SHAPE, np.float32), np.ones(SHAPE, bool)
    return refine_borders_with_chi(labels, full, REGIONS, NUCLEI, chi, everywhere if mask is None else mask)[
        0
    ]


def dice(a: np.ndarray, b: np.ndarray, number: int) -> float:
    return float(2 * ((a == number) & (b == number)).sum() / ((a == number).sum() + (b == number).sum()))


@pytest.mark.parametrize("offset", [0.0, -0.2])
def test_a_nucleus_drawn_too_large_shrinks_to_its_border_on_chi(offset: float) -> None:
    truth, placed = drawn(5), drawn(6.3, shift=0.5)
    chi = map_of(truth, offset)
    found = settled(placed, chi)
    assert dice(placed, truth, PALLIDUM) < 0.75
    assert dice(found, truth, PALLIDUM) > 0.94
    bias = [float(chi.array[labels == PALLIDUM].mean()) for labels in (placed, found, truth)]
    assert bias[0] < bias[2] - 0.03
    assert abs(bias[1] - bias[2]) < 0.004  # ppm
    assert dice(found, truth, PUTAMEN) > dice(placed, truth, PUTAMEN)


def test_what_chi_does_not_tell_stays() -> None:
    truth, placed = drawn(5, nigra=True), drawn(6.3, nigra=True)
    chi = map_of(truth)
    np.testing.assert_array_equal(settled(placed, chi, np.zeros(SHAPE, bool)), placed)
    found = settled(placed, chi)
    assert found[20, 20, 36] == NIGRA  # too small to know its chi
    far = (np.indices(SHAPE) - np.array([24, 20, 20])[:, None, None, None]) ** 2
    np.testing.assert_array_equal(found[far.sum(0) > 10**2], placed[far.sum(0) > 10**2])
    flat = settled(placed, Image(np.zeros(SHAPE, np.float32), np.eye(4)))
    assert dice(flat, placed, PALLIDUM) > 0.97


def test_borders_are_settled_before_mixed_voxels_are_left_out() -> None:
    truth, placed = drawn(5), drawn(6.3)
    chi = map_of(truth)

    def refine_borders(labels: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return refine_borders_with_chi(labels, share, REGIONS, NUCLEI, chi, np.ones(SHAPE, bool))

    grid = Grid(SHAPE, np.eye(4))
    usual, strict = (
        labels_on_scan(
            chi.with_array(placed), Transform(), grid, refine_borders=refine_borders, threshold=threshold
        )
        for threshold in (0.5, 0.99)
    )
    assert dice(usual, truth, PALLIDUM) > 0.94
    assert usual[strict > 0].min() > 0
    assert 0 < np.count_nonzero(strict == PALLIDUM) < np.count_nonzero(usual == PALLIDUM)
