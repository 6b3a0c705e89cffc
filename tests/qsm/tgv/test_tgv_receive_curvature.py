import numpy as np
import pytest
from scipy import ndimage

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv.receive_curvature import receive_curvature

SIZE = (4.0, 4.0, 4.0)
SHAPE = (48, 56, 44)


@pytest.fixture(scope="module")
def tissue():
    """Mask of a ball, and the Laplacian (ppm/mm^2) of the field of tissue in it and of air outside."""
    grid = np.indices(SHAPE) - np.array([24, 28, 22])[:, None, None, None]
    mask = np.sqrt((grid**2).sum(axis=0)) < 20
    rng = np.random.default_rng(0)
    chi = 0.25 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2)
    chi = np.where(mask, chi, 0)
    chi[30:33, 28:31, 36:39] += 2.0 * ~mask[30:33, 28:31, 36:39]
    field = forward_field(chi.astype(np.float32), voxel_size=SIZE, b0_direction=(0, 0, 1), workers=1)
    laplacian = sum((np.roll(field, 1, a) + np.roll(field, -1, a) - 2 * field) / 16 for a in range(3))
    return mask, laplacian.astype(np.float32)


def curvature(scale):
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, count) for count in SHAPE), indexing="ij")
    return (scale * (1 - 0.8 * x + 0.5 * y * z - 0.6 * z**2)).astype(np.float32)


def test_curvature_is_found_beside_tissue_and_air(tissue):
    mask, laplacian = tissue
    true = curvature(1e-4)
    assert np.std(laplacian[mask]) > 3 * np.std(true[mask])  # far below what tissue has in every voxel
    found = receive_curvature(laplacian + true, mask, SIZE)
    # three quarters of what shading comes from are gone
    assert np.mean((found - true)[mask] ** 2) < 0.25 * np.mean(true[mask] ** 2)


def test_without_tissue_it_is_exact(tissue):
    mask, _ = tissue
    true = curvature(3.0)
    np.testing.assert_allclose(receive_curvature(true, mask, SIZE), true, atol=1e-4)


def test_a_mask_without_inside_has_none():
    mask = np.zeros(SHAPE, bool)
    mask[20:23, 20:23, 20:23] = True
    assert not receive_curvature(np.ones(SHAPE, np.float32), mask, SIZE).any()
