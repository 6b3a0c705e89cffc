"""Volumes interpolated on oblique grids, in parallel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.volume import Volume


@numba.njit(inline="always")
def _index(position: Any, n: int) -> Any:  # pragma: no cover
    position = min(max(position, np.float32(0)), np.float32(n - 1.001))
    low = int(position)
    return low, np.float32(position - low)


@numba.njit(cache=True, nogil=True)
def value_at(volume: Any, x: Any, y: Any, z: Any) -> Any:  # pragma: no cover
    """Trilinear interpolation of a plain volume at a point in mm; the edge is continued outwards."""
    data, origin, density = volume
    i, fx = _index((x - origin[0]) * density, data.shape[0])
    j, fy = _index((y - origin[1]) * density, data.shape[1])
    k, fz = _index((z - origin[2]) * density, data.shape[2])
    one = np.float32(1)
    a = data[i, j, k] * (one - fz) + data[i, j, k + 1] * fz
    b = data[i, j + 1, k] * (one - fz) + data[i, j + 1, k + 1] * fz
    c = data[i + 1, j, k] * (one - fz) + data[i + 1, j, k + 1] * fz
    d = data[i + 1, j + 1, k] * (one - fz) + data[i + 1, j + 1, k + 1] * fz
    return (a * (one - fy) + b * fy) * (one - fx) + (c * (one - fy) + d * fy) * fx


def plain(volume: Volume) -> tuple[NDArray, FloatArray, np.float32]:
    """Return a volume as compiled functions take it: data, origin in mm, samples per mm."""
    return volume.data, volume.origin.astype(np.float32), np.float32(1 / volume.spacing)


def interpolate(
    volume: Volume, origin: NDArray[np.float64], steps: NDArray[np.float64], shape: tuple[int, ...]
) -> FloatArray:
    """Interpolate a smooth volume by cubic B-splines on a grid of any direction.

    Linear interpolation would leave kinks on the faces of the coarse voxels, which a Laplacian takes for
    sources.

    Parameters
    ----------
    volume : Volume
    origin : ndarray (3,)
        Position of the first point in mm.
    steps : ndarray (3, 3)
        Columns are the steps in mm along the grid's axes.
    shape
        Points along each axis.

    References
    ----------
    Unser M. IEEE Signal Process Mag 16(6):22-38 (1999).
    """
    coefficients = spline_filter(volume.data, order=3, output=np.float32, mode="mirror")
    if np.array_equal(steps, np.diag(np.diag(steps))):
        return _interpolate_straight(coefficients, volume, origin, np.diag(steps), shape)
    out = np.empty(shape, dtype=np.float32)
    plain_volume = plain(Volume(coefficients, volume.origin, volume.spacing))
    start, step = origin.astype(np.float32), steps.astype(np.float32)
    in_slabs(shape[0], lambda first, last: _interpolate(first, last, plain_volume, start, step, out))
    return out


def _interpolate_straight(
    coefficients: FloatArray,
    volume: Volume,
    origin: NDArray[np.float64],
    step: NDArray[np.float64],
    shape: tuple[int, ...],
) -> FloatArray:
    """Axis by axis, which a grid along the volume's axes allows."""
    result = coefficients
    for axis in range(3):
        position = (origin[axis] + step[axis] * np.arange(shape[axis]) - volume.origin[axis]) / volume.spacing
        weights = _spline_weights(position.astype(np.float32), volume.data.shape[axis])
        result = weights @ result.reshape(weights.shape[1], -1)
        # the next axis comes first, so that after three rounds the axes stand in their order again
        result = np.ascontiguousarray(result.T)
        shape_left = [
            volume.data.shape[a] if a > axis else shape[a] for a in (*range(axis + 1, 3), *range(axis + 1))
        ]
        result = result.reshape(shape_left)
    return result


@numba.njit(cache=True)
def _spline_weights(positions: Any, n: int) -> Any:  # pragma: no cover
    """Weight of every sample (columns) in the cubic spline at every position (rows)."""
    weights = np.zeros((positions.size, n), dtype=np.float32)
    for row in range(positions.size):
        low, f = _index(positions[row], n)
        for tap, weight in enumerate(_cubic_weights(f)):
            weights[row, _mirrored(low - 1 + tap, n)] += weight
    return weights


def in_slabs(count: int, work: Callable[[int, int], None]) -> None:
    """Call `work(first, last)` for slabs of planes that make up `count`, in threads.

    Threads, not ``prange``, because compiled parallel loops do not take volumes as tuples.
    """
    slabs = [(first, min(first + 8, count)) for first in range(0, count, 8)]
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for finished in pool.map(lambda slab: work(*slab), slabs):
            del finished


@numba.njit(inline="always")
def _cubic_weights(f: Any) -> Any:  # pragma: no cover
    sixth, g = np.float32(1 / 6), np.float32(1) - f
    return (
        g * g * g * sixth,
        np.float32(2 / 3) - f * f * (np.float32(1) - np.float32(0.5) * f),
        np.float32(2 / 3) - g * g * (np.float32(1) - np.float32(0.5) * g),
        f * f * f * sixth,
    )


@numba.njit(inline="always")
def _mirrored(i: int, n: int) -> int:  # pragma: no cover
    i = abs(i)
    return i if i < n else 2 * n - 2 - i


@numba.njit(cache=True, nogil=True, fastmath=True)
def _spline_at(
    coefficients: Any, i: int, j: int, k: int, fx: Any, fy: Any, fz: Any
) -> Any:  # pragma: no cover
    nx, ny, nz = coefficients.shape
    wx, wy, wz = _cubic_weights(fx), _cubic_weights(fy), _cubic_weights(fz)
    total = np.float32(0)
    for a in range(4):
        u = _mirrored(i - 1 + a, nx)
        plane = np.float32(0)
        for b in range(4):
            row = coefficients[u, _mirrored(j - 1 + b, ny)]
            line = np.float32(0)
            if 1 <= k < nz - 2:
                line = row[k - 1] * wz[0] + row[k] * wz[1] + row[k + 1] * wz[2] + row[k + 2] * wz[3]
            else:
                for c in range(4):
                    line += row[_mirrored(k - 1 + c, nz)] * wz[c]
            plane += wy[b] * line
        total += wx[a] * plane
    return total


@numba.njit(cache=True, nogil=True)
def _interpolate(
    first: int, last: int, volume: Any, origin: Any, steps: Any, out: Any
) -> None:  # pragma: no cover
    data, corner, density = volume
    _, ny, nz = out.shape
    for i in range(first, last):
        for j in range(ny):
            for k in range(nz):
                x = origin[0] + i * steps[0, 0] + j * steps[0, 1] + k * steps[0, 2]
                y = origin[1] + i * steps[1, 0] + j * steps[1, 1] + k * steps[1, 2]
                z = origin[2] + i * steps[2, 0] + j * steps[2, 1] + k * steps[2, 2]
                u, fx = _index((x - corner[0]) * density, data.shape[0])
                v, fy = _index((y - corner[1]) * density, data.shape[1])
                w, fz = _index((z - corner[2]) * density, data.shape[2])
                out[i, j, k] = _spline_at(data, u, v, w, fx, fy, fz)
