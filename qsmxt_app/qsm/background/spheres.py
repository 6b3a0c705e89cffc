"""Spherical mean values on anisotropic grids, and what the methods that use them have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.background.border import border_of, within_doubtful_border
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive

SUBVOXELS = 5


def sphere(radius: float, voxel_size: Sequence[float]) -> FloatArray:
    """Share of each voxel that lies within a sphere around the central voxel, scaled to a sum of 1.

    The partial voxels of the surface keep the mean of a harmonic field close to its value at the centre.

    Parameters
    ----------
    radius
        Radius in mm.
    voxel_size
        Voxel edges in mm.

    Returns
    -------
    ndarray
        Odd sides; the central voxel is the centre of the sphere.
    """
    offsets = (np.arange(SUBVOXELS) + 0.5) / SUBVOXELS - 0.5
    squared: list[NDArray] = []
    for axis, edge in enumerate(voxel_size):
        half = int(np.ceil(radius / edge + 0.5))
        centres = np.arange(-half, half + 1)[:, None] + offsets
        line = (centres.ravel() * edge) ** 2
        squared.append(line.reshape([-1 if other == axis else 1 for other in range(3)]))
    covered = squared[0] + squared[1] + squared[2] <= radius**2
    blocks = [size for n in covered.shape for size in (n // SUBVOXELS, SUBVOXELS)]
    share = covered.reshape(blocks).mean(axis=(1, 3, 5))
    return np.asarray(share / share.sum(), dtype=np.float32)


def sphere_spectrum(grid: PaddedGrid, radius: float) -> FloatArray:
    """Fourier transform (real, since the sphere is symmetric) of :func:`sphere` on a grid.

    Raises
    ------
    ValueError
        If the sphere is larger than the grid.
    """
    kernel = sphere(radius, grid.voxel_size)
    if any(k > n for k, n in zip(kernel.shape, grid.shape, strict=True)):
        raise ValueError(f"a sphere of {radius} mm is larger than the mask: choose a smaller radius")
    box = np.zeros(grid.shape, dtype=np.float32)
    box[tuple(slice(0, n) for n in kernel.shape)] = kernel
    box = np.roll(box, [-(n // 2) for n in kernel.shape], axis=(0, 1, 2))
    return np.ascontiguousarray(grid.forward(box).real)


def eroded(grid: PaddedGrid, spectrum: FloatArray) -> NDArray[np.bool_]:
    """Voxels around which the whole sphere lies inside the mask of the grid."""
    outside = grid.convolve((~grid.mask).astype(np.float32), spectrum)
    return np.asarray(grid.mask & (outside < 1e-5))


def sphere_box(
    total_field: NDArray,
    mask: NDArray,
    voxel_size: Sequence[float],
    weights: NDArray | None,
    radius: float,
    threads: int | None,
) -> tuple[PaddedGrid, FloatArray]:
    """Check the input; return the box of the mask inside its doubtful border, and the field in it."""
    check_field(total_field, mask, voxel_size, weights=weights)
    check_positive(radius=radius)
    region = within_doubtful_border(np.asarray(mask, bool), weights)
    grid = PaddedGrid(region, voxel_size, margin=radius, threads=threads)
    return grid, grid.embed_masked(total_field)


def require_voxels(mask: BoolArray, radius: float) -> None:
    """Refuse a mask into which the sphere did not fit.

    Raises
    ------
    ValueError
        If nothing is left of the mask.
    """
    if not mask.any():
        raise ValueError(f"no voxel of the mask is {radius:.1f} mm from its border: choose a smaller radius")


def sphere_result(
    grid: PaddedGrid, local: FloatArray, known: BoolArray, iterations: int = 0, converged: bool = True
) -> BackgroundRemoval:
    """Return a local field of the box in the shape of the image; it tells nothing in the outermost layer."""
    mask = grid.extract(known) > 0
    return BackgroundRemoval(grid.extract(local, known), mask, mask & ~border_of(mask), iterations, converged)
