import numpy as np
import pytest

from qsmxt_app.workflows.overview import coarse_phase


def test_blocks_lie_where_their_voxels_are_and_wraps_do_not_matter() -> None:
    shape, size = (24, 30, 9), (1.0, 0.8, 4.0)
    affine = np.array([[0, 0.8, 0, -10], [-1.0, 0, 0, 30], [0, 0, 4.0, 5], [0, 0, 0, 1]])
    place = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape)) + affine[:3, 3, None, None, None]
    slope = np.array([0.08, -0.15, 0.12])
    phase = np.tensordot(slope, place, axes=1)
    coarse, coarse_affine = coarse_phase(np.angle(np.exp(1j * phase)), np.ones(shape, bool), affine, size)
    assert coarse.shape == (6, 6, 9)
    where = np.einsum("ij,jxyz->ixyz", coarse_affine[:3, :3], np.indices(coarse.shape))
    expected = np.tensordot(slope, where + coarse_affine[:3, 3, None, None, None], axes=1)
    assert np.abs(np.angle(np.exp(1j * (coarse - expected)))).max() < 1e-5
    assert np.ptp(expected) > 2 * np.pi


def test_what_is_outside_does_not_count() -> None:
    phase = np.full((8, 8, 8), 2.0, np.float32)
    mask = np.zeros((8, 8, 8), bool)
    mask[:4], phase[4:] = True, -1.0
    mask[0:4, 0:4, 0:4] = False
    mask[0:2, 0:4, 0:4] = True  # half of a block
    coarse, _ = coarse_phase(phase, mask, np.eye(4), (1.0, 1.0, 1.0))
    assert coarse[0] == pytest.approx(2.0)
    assert np.all(coarse[1] == 0)
