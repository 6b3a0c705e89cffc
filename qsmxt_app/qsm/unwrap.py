"""Spatial phase unwrapping inside a mask: Laplacian (least squares) or exact (ROMEO)."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import scipy.fft
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray

SMALLEST_REGION = 8
"""Voxels below which a disconnected piece keeps its wrapped phase: specks of noise."""


def unwrap_laplacian(
    phase: FloatArray,
    *,
    mask: BoolArray,
    voxel_size: Sequence[float],
    tolerance: float = 1e-3,
    max_iterations: int = 60,
    workers: int = -1,
) -> FloatArray:
    """Unwrap by solving a Poisson equation for the Laplacian of the wrapped phase.

    The Laplacian is the divergence of the wrapped differences between neighbours (the discrete form of
    Schofield & Zhu's cos/sin formula). Only differences between two voxels of the mask count, so noise
    outside cannot leak in; the equation is solved by conjugate gradients with the cosine transform's exact
    solution for the box as preconditioner (Ghiglia & Romero).

    Parameters
    ----------
    phase : ndarray (x, y, z)
        Wrapped phase in rad.
    mask : ndarray (x, y, z)
        Where to unwrap.
    voxel_size
        mm.
    tolerance
        Norm of the remaining equation error over that of the right-hand side.
    max_iterations
        Cap on the iterations.
    workers
        Threads of the transforms.

    Returns
    -------
    ndarray (x, y, z)
        Unwrapped phase in rad, 0 outside the mask; exact where no difference between neighbours exceeds
        half a turn. Each connected piece of the mask has the mean turn nearest to its wrapped phase.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty or the phase contains NaN inside it.

    References
    ----------
    Schofield MA, Zhu Y. Opt Lett 28:1194-1196 (2003).
    Ghiglia DC, Romero LA. J Opt Soc Am A 11:107-117 (1994).
    """
    _check(phase, mask)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = np.ascontiguousarray(mask[box])
    wrapped = np.where(inside, phase[box], 0).astype(np.float32)
    inverse_squares = np.array([1.0 / v**2 for v in voxel_size], dtype=np.float32)
    source = np.zeros_like(wrapped)
    _divergence(wrapped, inside, inverse_squares, True, source)
    solution = _solve(source, inside, inverse_squares, tolerance, max_iterations, workers)
    out = np.zeros(phase.shape, dtype=np.float32)
    out[box] = _nearest_turn(solution, wrapped, inside)
    return out


def unwrap_romeo(phase: FloatArray, *, mask: BoolArray, magnitude: FloatArray | None = None) -> FloatArray:
    """Unwrap exactly, along the path of most reliable neighbours.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        Wrapped phase in rad.
    mask : ndarray (x, y, z)
        Where to unwrap.
    magnitude : ndarray (x, y, z), optional
        Signal or any other measure of reliability that guides the path.

    Returns
    -------
    ndarray (x, y, z)
        Phase plus whole turns, 0 outside the mask. Each connected piece of the mask is unwrapped on its
        own; its median lies within half a turn of zero.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty or the phase contains NaN inside it.

    References
    ----------
    Dymerska B, Eckstein K, et al. Magn Reson Med 85:2294-2308 (2021). The implementation is warpkit's.
    """
    from warpkit.warpkit_cpp import romeo_unwrap3d

    _check(phase, mask)
    weight = np.ones(phase.shape, np.float32) if magnitude is None else magnitude
    out = np.zeros(phase.shape, dtype=np.float32)
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.reshape(-1))
    pieces = ndimage.find_objects(labels)
    for number in np.flatnonzero(sizes[1:] >= SMALLEST_REGION) + 1:
        box = pieces[number - 1]
        piece = np.ascontiguousarray(labels[box] == number)
        wrapped = np.where(piece, phase[box], 0).astype(np.float32)
        mag = np.where(piece, weight[box], 0).astype(np.float32)
        unwrapped = np.asarray(romeo_unwrap3d(wrapped, "romeo", mag, piece, False, 1, False, False))[piece]
        out[box][piece] = unwrapped - np.float32(2 * np.pi) * np.rint(np.median(unwrapped) / (2 * np.pi))
    small = (sizes < SMALLEST_REGION)[labels] & mask
    out[small] = phase[small]
    return out


def phase_residues(phase: FloatArray, *, mask: BoolArray) -> BoolArray:
    """Voxels around which the wrapped phase cannot be unwrapped: the ends of open fringes.

    The wrapped differences around a square of four neighbours sum to zero where phase is that of a field,
    and to a turn where a fringe ends inside it, whatever the path of an unwrapping.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        Wrapped phase in rad.
    mask : ndarray (x, y, z)
        Squares must lie inside it.

    Returns
    -------
    ndarray (x, y, z), bool
        Corners of squares with a residue.

    References
    ----------
    Goldstein RM, Zebker HA, Werner CL. Radio Sci 23:713-720 (1988).
    Huntley JM. Appl Opt 40:3901-3908 (2001).
    """
    out = np.zeros(phase.shape, dtype=bool)
    _mark_residues(np.ascontiguousarray(phase), np.ascontiguousarray(mask), out)
    return out


@numba.njit(cache=True, nogil=True)
def _turns(difference: float) -> float:
    return float(np.rint(difference * (0.5 / np.pi)))


@numba.njit(cache=True, nogil=True)
def _mark_residues(phase: FloatArray, mask: BoolArray, out: BoolArray) -> None:
    nx, ny, nz = phase.shape
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                if not mask[x, y, z]:
                    continue
                for plane in range(3):
                    # second and third corner of the square normal to the axis: +x +y, +y +z, +z +x
                    bx, by, bz = x + (plane == 0), y + (plane == 1), z + (plane == 2)
                    dx, dy, dz = x + (plane == 2), y + (plane == 0), z + (plane == 1)
                    cx, cy, cz = bx + dx - x, by + dy - y, bz + dz - z
                    if cx >= nx or cy >= ny or cz >= nz:
                        continue
                    if not (mask[bx, by, bz] and mask[cx, cy, cz] and mask[dx, dy, dz]):
                        continue
                    a, b, c, d = phase[x, y, z], phase[bx, by, bz], phase[cx, cy, cz], phase[dx, dy, dz]
                    if _turns(b - a) + _turns(c - b) + _turns(d - c) + _turns(a - d) != 0:
                        out[x, y, z] = True
                        out[bx, by, bz] = True
                        out[cx, cy, cz] = True
                        out[dx, dy, dz] = True


def _check(phase: FloatArray, mask: BoolArray) -> None:
    if phase.ndim != 3 or phase.shape != mask.shape:
        raise ValueError(f"the phase {phase.shape} and the mask {mask.shape} must be volumes of one shape")
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to unwrap")
    if not np.isfinite(phase[mask]).all():
        raise ValueError("the phase contains NaN or infinite values inside the mask")


def _nearest_turn(solution: FloatArray, wrapped: FloatArray, inside: BoolArray) -> FloatArray:
    """Shift each connected piece, whose constant is free, to agree with the wrapped phase modulo 2 pi."""
    labels, count = ndimage.label(inside)
    error = np.exp(1j * (wrapped - solution))
    index = np.arange(1, count + 1)
    shift = np.arctan2(ndimage.sum(error.imag, labels, index), ndimage.sum(error.real, labels, index))
    means = np.atleast_1d(ndimage.mean(solution, labels, index)) + shift
    shift = shift - 2 * np.pi * np.rint(means / (2 * np.pi))
    return np.asarray(solution + np.concatenate([[0.0], np.atleast_1d(shift)])[labels], dtype=np.float32)


def _solve(
    source: FloatArray,
    inside: BoolArray,
    inverse_squares: FloatArray,
    tolerance: float,
    max_iterations: int,
    workers: int,
) -> FloatArray:
    """Preconditioned conjugate gradients for the graph Laplacian of the mask."""
    eigenvalues = sum(
        (
            (2 - 2 * np.cos(np.pi * np.arange(n) / n)).reshape([-1 if a == axis else 1 for a in range(3)])
            * inverse_squares[axis]
            for axis, n in enumerate(source.shape)
        ),
        start=np.zeros((1, 1, 1)),
    ).astype(np.float32)
    eigenvalues[0, 0, 0] = np.inf

    def precondition(residual: FloatArray) -> FloatArray:
        spectrum = scipy.fft.dctn(residual, workers=workers)
        spectrum /= eigenvalues
        image = scipy.fft.idctn(spectrum, workers=workers, overwrite_x=True)
        image[~inside] = 0
        return np.asarray(image, dtype=np.float32)

    solution = np.zeros_like(source)
    residual = -source  # A = -Laplacian, so that A is positive
    applied = np.zeros_like(source)
    target = tolerance * float(np.linalg.norm(residual))
    direction = preconditioned = precondition(residual)
    product = float(np.vdot(residual, preconditioned))
    for _ in range(max_iterations):
        if float(np.linalg.norm(residual)) <= target or product <= 0:
            break
        _divergence(direction, inside, inverse_squares, False, applied)
        step = -product / float(np.vdot(direction, applied))
        solution += np.float32(step) * direction
        residual += np.float32(step) * applied
        preconditioned = precondition(residual)
        previous, product = product, float(np.vdot(residual, preconditioned))
        direction = preconditioned + np.float32(product / previous) * direction
    solution[~inside] = 0
    return solution


@numba.njit(parallel=True, cache=True, nogil=True)
def _divergence(
    image: FloatArray, inside: BoolArray, inverse_squares: FloatArray, wrap: bool, out: FloatArray
) -> None:
    """Sum over a voxel's neighbours in the mask of (neighbour - voxel) / h^2, each wrapped if asked for."""
    nx, ny, nz = image.shape
    for slab in numba.prange(nx):
        x = np.int64(slab)
        for y in range(ny):
            for z in range(nz):
                total = 0.0
                if inside[x, y, z]:
                    here = np.float64(image[x, y, z])
                    for side in range(6):
                        axis = side // 2
                        step = 1 - 2 * (side % 2)
                        i = x + step if axis == 0 else x
                        j = y + step if axis == 1 else y
                        k = z + step if axis == 2 else z
                        if 0 <= i < nx and 0 <= j < ny and 0 <= k < nz and inside[i, j, k]:
                            difference = image[i, j, k] - here
                            if wrap:
                                difference -= 2 * np.pi * np.rint(difference / (2 * np.pi))
                            total += difference * inverse_squares[axis]
                out[x, y, z] = total
