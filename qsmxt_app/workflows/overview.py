"""Smooth maps on a coarse grid: enough for display, at a hundredth of the size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EDGE_MM = 4.0


def coarse_phase(
    phase: NDArray[np.float32], mask: NDArray[np.bool_], affine: NDArray[np.float64], size: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Average a phase over blocks of voxels, as complex numbers so that wraps do not matter.

    Parameters
    ----------
    phase
        (x, y, z) array, rad.
    mask
        (x, y, z) array; a block counts if half of it is inside.
    affine
        (4, 4) array.
    size
        Voxel size, mm. Blocks are the whole numbers of voxels that fit into 4 mm.

    Returns
    -------
    tuple
        The phase of each block, -pi to pi, 0 outside; and the affine of the blocks.
    """
    counts = [max(1, int(EDGE_MM / edge + 1e-6)) for edge in size]
    shape = [length // count for length, count in zip(mask.shape, counts, strict=True)]
    kept = tuple(slice(0, length * count) for length, count in zip(shape, counts, strict=True))
    blocks = (shape[0], counts[0], shape[1], counts[1], shape[2], counts[2])
    inside = mask[kept]
    real, imaginary = (
        np.where(inside, part(phase[kept]), np.float32(0)).reshape(blocks).sum(axis=(1, 3, 5))
        for part in (np.cos, np.sin)
    )
    share = inside.reshape(blocks).mean(axis=(1, 3, 5))
    to_voxels = np.diag([*counts, 1.0])
    to_voxels[:3, 3] = (np.array(counts) - 1) / 2
    return np.where(share >= 0.5, np.arctan2(imaginary, real), 0).astype(np.float32), affine @ to_voxels
