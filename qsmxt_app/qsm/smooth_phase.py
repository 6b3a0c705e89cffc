"""Smooth phase maps from noisy, masked phasors, without bias at the edge of the mask."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded

PASSES = 3
"""Times the residual is smoothed again: each pass raises the order of what is reproduced exactly."""


def smooth_phase(
    phase: FloatArray,
    weights: FloatArray,
    *,
    voxel_size: Sequence[float],
    sigma: float = 6.0,
    cell: float = 3.0,
    outlier: float | None = None,
) -> FloatArray:
    """Smooth a phase map where it has weight, and continue it smoothly where it has none.

    Phasors are summed over cells of a coarse grid and smoothed by normalised convolution (Knutsson and
    Westin, CVPR 1993). A one-sided neighbourhood at the rim would pull the result inwards along the
    gradient; so the mean is moved from the neighbourhood's centroid to its centre along the local gradient,
    and what is left over is smoothed and added again (twicing: Tukey, Exploratory Data Analysis, 1977).

    Parameters
    ----------
    phase : ndarray (x, y, z)
        rad, any cycle.
    weights : ndarray (x, y, z)
        Inverse variance or the like, at least 0; 0 outside the region that has phase.
    voxel_size
        mm.
    sigma
        SD of the Gaussian in mm.
    cell
        Edge of a coarse cell in mm.
    outlier
        Distance in rad from the smooth phase at which a voxel's weight is halved in the later passes;
        None: no weight is lowered.

    Returns
    -------
    ndarray (x, y, z)
        Smooth phase in [-pi, pi); 0 farther than four sigma from any weight.
    """
    factors = np.array([max(1, round(cell / v)) for v in voxel_size])
    edges = factors * np.asarray(voxel_size, dtype=float)
    width = tuple(sigma / edges)
    shape = tuple(int(-(-n // f)) for n, f in zip(phase.shape, factors, strict=True))
    real, imaginary, weight = (np.zeros(shape, np.float32) for _ in range(3))
    smooth = np.zeros(shape, np.complex64)
    limit = np.inf if outlier is None else outlier
    for step in range(PASSES):
        factor_tuple = (int(factors[0]), int(factors[1]), int(factors[2]))
        _gather(real.shape[0], phase, weights, factor_tuple, smooth, step > 0, limit, real, imaginary, weight)
        if step == 0:
            smooth = _towards_centre(real + 1j * imaginary, weight, width)
        else:
            smooth = smooth * np.exp(1j * _residual(real, imaginary, weight, width)).astype(np.complex64)
    out = np.empty(phase.shape, np.float32)
    _spread(len(out), smooth, (int(factors[0]), int(factors[1]), int(factors[2])), out)
    return out


def _blur(image: NDArray, width: Sequence[float]) -> NDArray:
    return np.asarray(gaussian_filter(image, width, mode="constant", truncate=4.0))


def _blur_normalised(image: NDArray, weight: FloatArray, width: Sequence[float]) -> NDArray:
    below = _blur(weight, width)
    return np.where(below > 1e-6 * below.max(), _blur(image, width) / np.maximum(below, 1e-30), 0)


def _towards_centre(phasor: NDArray, weight: FloatArray, width: Sequence[float]) -> NDArray[np.complex64]:
    """Normalised convolution of phasors, moved from the centroid of the weights to the centre."""
    angle = np.zeros(phasor.shape, np.float32)
    for axis in range(3):
        if phasor.shape[axis] < 2:
            continue
        ahead = _take(phasor, axis, 1, None) * np.conj(_take(phasor, axis, None, -1))
        pairs = np.abs(ahead)
        pad = [(0, 0)] * 3
        pad[axis] = (0, 1)
        slope = np.angle(_blur(np.pad(ahead, pad), width) + 1e-30 * pairs.max())
        position = np.arange(phasor.shape[axis], dtype=np.float32)
        position = position.reshape([-1 if a == axis else 1 for a in range(3)])
        shift = _blur_normalised(weight * position, weight, width) - position
        angle += (slope * shift).astype(np.float32)
    blurred = _blur(phasor, width)
    size = np.abs(blurred)
    unit = np.where(size > 1e-6 * size.max(), blurred / np.maximum(size, 1e-30), 1.0)
    return np.asarray(unit * np.exp(-1j * angle), dtype=np.complex64)


def _take(image: NDArray, axis: int, start: int | None, stop: int | None) -> NDArray:
    index = [slice(None)] * 3
    index[axis] = slice(start, stop)
    return image[tuple(index)]


def _residual(
    real: FloatArray, imaginary: FloatArray, weight: FloatArray, width: Sequence[float]
) -> FloatArray:
    return np.asarray(_blur_normalised(np.arctan2(imaginary, real) * weight, weight, width), np.float32)


@numba.njit(cache=True, nogil=True)
def _interpolate(coarse: NDArray, factors: tuple[int, int, int], x: int, y: int, z: int) -> complex:
    """Trilinear value of a cell-centred coarse grid at a voxel of the fine one."""
    nx, ny, nz = coarse.shape
    px = min(max((x + 0.5) / factors[0] - 0.5, 0.0), nx - 1.0)
    py = min(max((y + 0.5) / factors[1] - 0.5, 0.0), ny - 1.0)
    pz = min(max((z + 0.5) / factors[2] - 0.5, 0.0), nz - 1.0)
    ix, iy, iz = min(int(px), max(nx - 2, 0)), min(int(py), max(ny - 2, 0)), min(int(pz), max(nz - 2, 0))
    fx, fy, fz = px - ix, py - iy, pz - iz
    jx, jy, jz = min(ix + 1, nx - 1), min(iy + 1, ny - 1), min(iz + 1, nz - 1)
    lower = (coarse[ix, iy, iz] * (1 - fx) + coarse[jx, iy, iz] * fx) * (1 - fy) + (
        coarse[ix, jy, iz] * (1 - fx) + coarse[jx, jy, iz] * fx
    ) * fy
    upper = (coarse[ix, iy, jz] * (1 - fx) + coarse[jx, iy, jz] * fx) * (1 - fy) + (
        coarse[ix, jy, jz] * (1 - fx) + coarse[jx, jy, jz] * fx
    ) * fy
    return complex(lower * (1 - fz) + upper * fz)


@threaded()
def _gather(
    first: int,
    last: int,
    phase: FloatArray,
    weights: FloatArray,
    factors: tuple[int, int, int],
    smooth: NDArray[np.complex64],
    demodulate: bool,
    limit: float,
    real: FloatArray,
    imaginary: FloatArray,
    weight: FloatArray,
) -> None:
    """Sum phasors (less the smooth phase) and weights over the voxels of each coarse cell."""
    nx, ny, nz = phase.shape
    for cx in range(first, last):
        for cy in range(real.shape[1]):
            for cz in range(real.shape[2]):
                sum_real = 0.0
                sum_imaginary = 0.0
                sum_weight = 0.0
                for x in range(cx * factors[0], min((cx + 1) * factors[0], nx)):
                    for y in range(cy * factors[1], min((cy + 1) * factors[1], ny)):
                        for z in range(cz * factors[2], min((cz + 1) * factors[2], nz)):
                            w = weights[x, y, z]
                            if not w > 0:
                                continue
                            angle = np.float64(phase[x, y, z])
                            if demodulate:
                                at = _interpolate(smooth, factors, x, y, z)
                                angle -= np.arctan2(at.imag, at.real)
                                angle -= 2 * np.pi * np.rint(angle / (2 * np.pi))
                                w = w / (1 + (angle / limit) ** 2)
                            sum_real += w * np.cos(angle)
                            sum_imaginary += w * np.sin(angle)
                            sum_weight += w
                real[cx, cy, cz] = sum_real
                imaginary[cx, cy, cz] = sum_imaginary
                weight[cx, cy, cz] = sum_weight


@threaded()
def _spread(
    first: int, last: int, smooth: NDArray[np.complex64], factors: tuple[int, int, int], out: FloatArray
) -> None:
    for x in range(first, last):
        for y in range(out.shape[1]):
            for z in range(out.shape[2]):
                at = _interpolate(smooth, factors, x, y, z)
                out[x, y, z] = np.arctan2(at.imag, at.real)
