"""The field of a whole head on a grid finer than the scan's, from sources on two scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.simulate.geometry import ScanGrid
from qsmxt_app.simulate.sampling import interpolate
from qsmxt_app.simulate.volume import FloatArray, Volume

SMOOTHING = 1.0
"""Standard deviation, in coarse voxels, of the Gaussian that keeps the coarse sources free of aliases."""
_MARGIN_MM = 8.0


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

    What is left of the sources after subtracting their slow part has no far field, so that it can be convolved on a
    grid that ends where the view ends, with a narrow padding.

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
    for start in range(0, shape[0], 32):  # by slabs: the whole kernel would double the memory
        _multiply_kernel(spectrum, start, min(start + 32, shape[0]), shape, grid)
    fine = scipy.fft.irfftn(spectrum, s=shape, workers=-1, overwrite_x=True)
    del spectrum
    nx, ny, nz = chi.shape
    fine = np.ascontiguousarray(fine[:nx, :ny, :nz], dtype=np.float32)
    fine += interpolate(field, grid.fine_origin, grid.fine_steps, chi.shape)
    return fine


def _multiply_kernel(
    spectrum: NDArray,
    start: int,
    stop: int,
    shape: Sequence[int],
    grid: ScanGrid,
) -> None:
    voxel_size, b0_direction = grid.fine_voxel_size, grid.b0_direction
    k = (
        scipy.fft.fftfreq(shape[0], voxel_size[0])[start:stop, None, None].astype(np.float32),
        scipy.fft.fftfreq(shape[1], voxel_size[1])[None, :, None].astype(np.float32),
        scipy.fft.rfftfreq(shape[2], voxel_size[2])[None, None, :].astype(np.float32),
    )
    along = (
        k[0] * np.float32(b0_direction[0])
        + k[1] * np.float32(b0_direction[1])
        + k[2] * np.float32(b0_direction[2])
    )
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    if start == 0:
        squared[0, 0, 0] = np.inf
    along *= along
    along /= squared
    spectrum[start:stop] *= np.float32(1 / 3) - along
    if start == 0:
        spectrum[0, 0, 0] = 0
