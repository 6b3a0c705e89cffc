"""The field of a whole head on a grid finer than the scan's, from sources on two scales."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.simulate.geometry import ScanGrid
from qsmxt_app.simulate.sampling import interpolate
from qsmxt_app.simulate.volume import Volume

SMOOTHING = 1.25
"""Standard deviation, in coarse voxels, of the Gaussian that keeps the coarse sources free of aliases."""
_MARGIN_MM = 12.0


def smooth_sources(chi: FloatArray, origin: NDArray[np.float64], spacing: float) -> Volume:
    """The slow part of a susceptibility distribution, which a coarse grid can carry without aliases.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm relative to the air around, on the coarse grid in head axes.
    origin, spacing
        Of the coarse grid in mm.
    """
    return Volume(gaussian_filter(chi, SMOOTHING, mode="constant"), origin, spacing)


def coarse_field(sources: Volume) -> Volume:
    """Field in ppm of the coarse sources, on a zero-padded grid, B0 along z of the head."""
    field = forward_field(
        sources.data, voxel_size=[sources.spacing] * 3, b0_direction=(0.0, 0.0, 1.0), padding=2.0
    )
    return Volume(field, sources.origin, sources.spacing)


def two_scale_field(chi: FloatArray, sources: Volume, field: Volume, grid: ScanGrid) -> FloatArray:
    """Field on the fine grid: the coarse field, interpolated, and the field of what the coarse sources lack.

    What is left of the sources after subtracting their slow part has no far field, so that it can be
    convolved on a grid that ends where the view ends, with a narrow padding.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm relative to the air around, on the fine grid.
    sources, field : Volume
        Coarse sources and their field, from :func:`smooth_sources` and :func:`coarse_field`.
    grid : ScanGrid
        Its fine voxels are those of `chi`.

    Returns
    -------
    ndarray (x, y, z)
        ppm.
    """
    residual = chi - interpolate(sources, grid.fine_origin, grid.fine_steps, chi.shape)
    margin = [round(_MARGIN_MM / edge) for edge in grid.fine_voxel_size]
    shape = [scipy.fft.next_fast_len(n + m, real=True) for n, m in zip(chi.shape, margin, strict=True)]
    spectrum = scipy.fft.rfftn(residual, s=shape, workers=-1)
    del residual
    _multiply_dipole(
        spectrum.shape[0],
        spectrum,
        shape[2],
        grid.fine_voxel_size.astype(np.float32),
        grid.b0_direction.astype(np.float32),
    )
    fine = scipy.fft.irfftn(spectrum, s=shape, workers=-1, overwrite_x=True)
    del spectrum
    nx, ny, nz = chi.shape
    fine = np.ascontiguousarray(fine[:nx, :ny, :nz], dtype=np.float32)
    fine += interpolate(field, grid.fine_origin, grid.fine_steps, chi.shape)
    return fine


@numba.njit(inline="always")
def _alias(index: int, n: int) -> Any:  # pragma: no cover
    """Frequency in cycles per voxel, its nearest alias, and the alias's share in what box voxels radiate."""
    frequency = np.float32(index if 2 * index <= n else index - n) / np.float32(n)
    other = frequency - np.float32(1) if frequency > 0 else frequency + np.float32(1)
    share = frequency * frequency / (frequency * frequency + other * other)
    return frequency, other, share


@threaded()
def _multiply_dipole(
    first: int, last: int, spectrum: Any, nz: int, voxel_size: Any, b: Any
) -> None:  # pragma: no cover
    """Multiply a half spectrum in place with the dipole of box-shaped voxels.

    Sharp sources carry frequencies beyond the grid's, which appear under those of the grid. Leaving them out
    makes the kernel jump at the highest frequency wherever B0 is oblique to the grid, and the field ring
    across the view.
    """
    nx, ny, half = spectrum.shape
    third = np.float32(1 / 3)
    for i in range(first, last):
        for j in range(ny):
            for k in range(half):
                fx, fy, fz = _alias(i, nx), _alias(j, ny), _alias(k, nz)
                kernel = np.float32(0)
                for alias in range(8):
                    a, c, d = alias & 1, (alias >> 1) & 1, alias >> 2
                    weight = (fx[2] if a else 1 - fx[2]) * (fy[2] if c else 1 - fy[2])
                    weight *= fz[2] if d else 1 - fz[2]
                    kx = (fx[1] if a else fx[0]) / voxel_size[0]
                    ky = (fy[1] if c else fy[0]) / voxel_size[1]
                    kz = (fz[1] if d else fz[0]) / voxel_size[2]
                    squared = kx * kx + ky * ky + kz * kz
                    if squared > 0:
                        along = kx * b[0] + ky * b[1] + kz * b[2]
                        kernel += weight * (third - along * along / squared)
                spectrum[i, j, k] *= np.float32(kernel)
