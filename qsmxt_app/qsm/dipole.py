"""The magnetic field of a susceptibility distribution, by convolution with the unit dipole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft

from qsmxt_app.arrays import FloatArray


def dipole_kernel(
    shape: Sequence[int], voxel_size: Sequence[float], b0_direction: Sequence[float]
) -> FloatArray:
    """Unit dipole in k-space, on the half grid of a real FFT.

    ``D(k) = 1/3 - (k.b)^2 / |k|^2``, with ``D(0) = 0``: a uniform susceptibility shifts nothing.

    Parameters
    ----------
    shape
        Grid (nx, ny, nz) of the volume in image space.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.

    Returns
    -------
    ndarray (nx, ny, nz // 2 + 1)
        The kernel, dimensionless, in the order of :func:`scipy.fft.rfftn`.

    References
    ----------
    Salomir R, de Senneville BD, Moonen CTW. Concepts Magn Reson B 19B:26-34 (2003).
    Marques JP, Bowtell R. Concepts Magn Reson B 25B:65-78 (2005).
    """
    nx, ny, nz = shape
    dx, dy, dz = voxel_size
    k = (
        scipy.fft.fftfreq(nx, dx)[:, None, None],
        scipy.fft.fftfreq(ny, dy)[None, :, None],
        scipy.fft.rfftfreq(nz, dz)[None, None, :],
    )
    # the highest frequency of an even grid is its own opposite: it has no sign, so no mixed products
    signed = [
        np.where(np.isclose(np.abs(line) * 2 * h, 1), 0, line) for line, h in zip(k, voxel_size, strict=True)
    ]
    b = b0_direction
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along_b0 = (k[0] * b[0]) ** 2 + (k[1] * b[1]) ** 2 + (k[2] * b[2]) ** 2
    for i, j in ((0, 1), (0, 2), (1, 2)):
        if b[i] and b[j]:
            along_b0 = along_b0 + 2 * b[i] * b[j] * signed[i] * signed[j]
    # At k = 0 the limit depends on the direction of approach. Its mean over all directions is zero, as 1/3 is
    # the mean of (k.b)^2 / |k|^2: the correction for the Lorentz sphere around a nucleus.
    squared[0, 0, 0] = 1.0
    kernel = np.divide(along_b0, squared, out=squared)
    np.subtract(1.0 / 3.0, kernel, out=kernel)
    kernel[0, 0, 0] = 0.0
    return np.asarray(kernel, dtype=np.float32)


def forward_field(
    chi: FloatArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    padding: float = 2.0,
    workers: int = -1,
) -> FloatArray:
    """Relative field shift of a susceptibility map in an empty surrounding.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        Susceptibility in ppm relative to the surrounding.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    padding
        Factor by which every side of the grid grows, so that the periodic copies of the FFT stay away.
    workers
        Threads of the FFT.

    Returns
    -------
    ndarray (x, y, z)
        Field shift in ppm of B0.
    """
    # the FFT repeats the volume in every direction, and dipole fields fall only with the third power of the
    # distance: without padding, the copies' fields would overlap the volume
    shape = [scipy.fft.next_fast_len(int(np.ceil(n * padding)), real=True) for n in chi.shape]
    kernel = dipole_kernel(shape, voxel_size, b0_direction)
    spectrum = scipy.fft.rfftn(chi.astype(np.float32), s=shape, workers=workers)
    spectrum *= kernel
    field = scipy.fft.irfftn(spectrum, s=shape, workers=workers, overwrite_x=True)
    nx, ny, nz = chi.shape
    return np.ascontiguousarray(field[:nx, :ny, :nz], dtype=np.float32)
