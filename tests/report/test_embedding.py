import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
from report_data import SHAPE, head, ras_affine

from qsmxt_app.report.embedding import PICTURE_BYTES, Embedded, embed, plan_shrinking, voxels_per_scan
from qsmxt_app.report.slices import make_grid
from qsmxt_app.report.viewer_section import Viewer


def opened(volume: Embedded) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(volume.content)))


def grid(shape: tuple[int, ...] = SHAPE, margin_mm: float = 0.0):
    return make_grid(np.ones(shape), ras_affine(shape), margin_mm=margin_mm)


@pytest.mark.parametrize("voxels", [None, 20_000, 3_000])
def test_a_straight_slope_stays_where_it_is_in_the_scanner(voxels: int | None) -> None:
    affine = ras_affine()
    x, y, z = (affine[:3, :3] @ np.indices(SHAPE).reshape(3, -1) + affine[:3, 3:]).reshape(3, *SHAPE)
    slope = 0.5 + 0.001 * x + 0.0007 * y - 0.0004 * z
    image = opened(embed("chi", slope, plan_shrinking(grid(), voxels)))
    if voxels:
        assert np.prod(image.shape) <= voxels
        assert np.prod(image.shape) > 0.6 * voxels
        assert np.ptp(image.header.get_zooms()) < 0.25 * max(image.header.get_zooms())
    positions = image.affine[:3, :3] @ np.indices(image.shape).reshape(3, -1) + image.affine[:3, 3:]
    expected = 0.5 + np.array([0.001, 0.0007, -0.0004]) @ positions
    # a voxel is the same everywhere, so an average over parts of voxels is off by up to an eighth of one
    off = 0 if voxels is None else 5.0 / 8 * (0.001 + 0.0007 + 0.0004)
    assert np.abs(image.get_fdata().ravel() - expected).max() < off + 0.00051  # half a step


def test_what_is_outside_does_not_lower_what_is_inside() -> None:
    chi = np.zeros(SHAPE, np.float32)
    chi[5:22, 5:22, 5:22] = 0.2
    shown = opened(embed("chi", chi, plan_shrinking(grid(), 5_000))).get_fdata()
    assert set(np.round(np.unique(shown), 3)) == {0.0, 0.2}


def test_values_that_are_no_numbers_are_outside() -> None:
    chi = np.full(SHAPE, 0.1, np.float32)
    chi[4, 4, 4] = np.nan
    chi[5, 5, 5] = np.inf
    shown = opened(embed("chi", chi, plan_shrinking(grid(), None))).get_fdata()
    assert shown[4, 4, 4] == shown[5, 5, 5] == 0
    assert np.count_nonzero(shown == 0) == 2


def test_labels_are_never_mixed_and_are_numbered_without_gaps() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[:18], labels[20:] = 17, 2035
    volume = embed("dseg", labels, plan_shrinking(grid(), 4_000))
    assert volume.labels == (17, 2035)
    assert set(np.unique(opened(volume).get_fdata())) == {0, 1, 2}
    assert opened(volume).header.get_intent()[0] == "label"


def test_many_labels_keep_their_order() -> None:
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 400
    volume = embed("dseg", labels, plan_shrinking(grid(), None))
    shown = opened(volume).get_fdata().astype(int)
    assert np.array_equal(np.array([0, *volume.labels])[shown], labels)


def test_only_the_box_around_the_mask_goes_into_the_page() -> None:
    mask = np.zeros(SHAPE)
    mask[10:20, 12:22, 8:18] = 1
    shrinking = plan_shrinking(make_grid(mask, ras_affine(), margin_mm=5), None)
    image = opened(embed("mask", mask, shrinking))
    assert image.shape == (12, 12, 12)
    assert image.affine @ [1, 1, 1, 1] == pytest.approx(ras_affine() @ [10, 12, 8, 1])
    assert image.get_fdata().sum() == mask.sum()


def test_small_volumes_stay_as_they_are_and_full_has_no_limit() -> None:
    assert plan_shrinking(grid((10, 11, 12)), 2_000).shape == (10, 11, 12)
    assert voxels_per_scan("full", 40) is None
    assert voxels_per_scan("small", 1) > voxels_per_scan("small", 3) > voxels_per_scan("small", 6)


@pytest.mark.parametrize("scans", [1, 2, 3, 4])
def test_a_page_of_noise_weighs_no_more_than_15_mb(scans: int) -> None:
    generator = np.random.default_rng(7)
    shape = (60, 60, 60)
    shrinking = plan_shrinking(grid(shape), None)
    noise = {"chi": 0.05 * generator.standard_normal(shape), "magnitude": generator.random(shape)}
    content = sum(len(embed(key, volume, shrinking).content) for key, volume in noise.items())
    volumes = content / np.prod(shape) * voxels_per_scan("small", scans)
    library = len(Viewer(()).library)
    assert library + scans * (volumes + PICTURE_BYTES) < 15e6


def test_the_same_volume_gives_the_same_bytes() -> None:
    maps, shrinking = head(), plan_shrinking(grid(), 10_000)
    for key in ("chi", "magnitude", "mask"):
        assert embed(key, maps[key], shrinking) == embed(key, maps[key].copy(), shrinking)
