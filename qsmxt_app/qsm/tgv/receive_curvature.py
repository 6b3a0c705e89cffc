"""Curvature of the receive phase in a single echo, which cannot be told from that of the field by time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray

ORDER = 3
"""Of the polynomial: higher orders take more of the tissue's field with them than of the receive phase."""

BORDER_VOXELS, TAPER_MM = 2, 25.0
"""Outermost layers that do not count, and the width over which weights rise below them. There are bone and
air, and the surface to which the Laplacian of tissue sums up."""

BLOCK_MM = 6.0
"""Edge of the blocks over which weighted voxels are summed before the fit: in them it is constant."""


def receive_curvature(laplacian: FloatArray, mask: BoolArray, voxel_size: Sequence[float]) -> FloatArray:
    """Estimate the Laplacian of the receive phase of a single echo.

    What is measured has the Laplacian of the tissue's field plus that of the receive phase, taken to be a
    polynomial of third order (the phase: of fifth); the field of sources outside is harmonic. That of the
    tissue is ``Lap(chi) / 3 - (b . grad)^2 chi``, whose sum over a volume depends on chi at its surface
    alone: over centimetres it is small beside the curvature of the receive phase. So the polynomial is fitted
    by least squares, with weights that fall to zero at the rim of the mask.

    Parameters
    ----------
    laplacian : ndarray (x, y, z)
        Any unit.
    mask : ndarray (x, y, z), bool
        Where it is known and the signal is tissue's.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z)
        In the same unit, everywhere; 0 where the mask has no inside.
    """
    depth = ndimage.distance_transform_edt(mask, sampling=voxel_size)
    weights = np.clip((depth - BORDER_VOXELS * max(voxel_size)) / TAPER_MM, 0, 1).astype(np.float32) ** 2
    counts = [max(1, int(BLOCK_MM / edge)) for edge in voxel_size]
    weight, sums = (_block_sums(one, counts).ravel() for one in (weights, weights * laplacian))
    inside = weight > 0
    axes = [np.linspace(-1, 1, length) for length in mask.shape]
    centres = np.meshgrid(*map(_block_means, axes, counts), indexing="ij")
    terms = _terms(*(centre.ravel()[inside] for centre in centres))
    if np.count_nonzero(inside) < 2 * len(terms):
        return np.zeros(mask.shape, np.float32)
    root = np.sqrt(weight[inside])
    design = np.stack(terms, axis=1) * root[:, None]
    found = np.linalg.lstsq(design, sums[inside] / root, rcond=None)[0]
    curvature = np.zeros(mask.shape, np.float32)
    for factor, term in zip(found, _terms(*np.ix_(*axes)), strict=True):
        curvature += (factor * term).astype(np.float32)
    return curvature


def _terms(x: NDArray, y: NDArray, z: NDArray) -> list[NDArray]:
    """Terms of the polynomial at some coordinates, which may be broadcast."""
    powers = itertools.product(range(ORDER + 1), repeat=3)
    return [x**i * y**j * z**k for i, j, k in powers if i + j + k <= ORDER]


def _block_sums(image: NDArray, counts: Sequence[int]) -> NDArray[np.float64]:
    """Sum over blocks of voxels; what is beyond the last whole block counts with zeros."""
    padded = np.pad(image, [(0, -length % count) for length, count in zip(image.shape, counts, strict=True)])
    (a, b, c), (x, y, z) = counts, padded.shape
    blocks = padded.reshape(x // a, a, y // b, b, z // c, c)
    return np.asarray(blocks.sum(axis=(1, 3, 5), dtype=np.float64))


def _block_means(axis: NDArray, count: int) -> NDArray:
    """Coordinates of the blocks' centres along one axis."""
    return np.array([axis[first : first + count].mean() for first in range(0, axis.size, count)])
