"""Phase unwrapping by Laplace's operator: least squares of the wrapped differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.qsm.unwrapping.checks import check_wrapped


def unwrap_laplacian(
    phase: FloatArray,
    mask: BoolArray,
    *,
    voxel_size: Sequence[float],
    tolerance: float = 1e-3,
    max_iterations: int = 60,
    threads: int | None = None,
) -> FloatArray:
    """Unwrap by solving a Poisson equation for the Laplacian of the wrapped phase.

    The Laplacian is the divergence of the wrapped differences between neighbours (the discrete form of
    Schofield & Zhu's cos/sin formula). Only differences between two voxels of the mask count, so
    noise outside has no effect; the equation is solved by conjugate gradients with the cosine transform's
    exact solution for the box as preconditioner (Ghiglia & Romero).

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
    threads
        Threads of the transforms; all cores where not given.

    Returns
    -------
    ndarray (x, y, z)
        Unwrapped phase in rad, 0 outside the mask; exact where no difference between neighbours exceeds
        half a cycle. Each connected piece of the mask has the mean cycle nearest to its wrapped phase.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty or the phase contains NaN inside it.

    References
    ----------
    Schofield MA, Zhu Y. Opt Lett 28:1194-1196 (2003).
    Ghiglia DC, Romero LA. J Opt Soc Am A 11:107-117 (1994).
    """
    check_wrapped(phase, mask)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = np.ascontiguousarray(mask[box])
    wrapped = np.where(inside, phase[box], 0).astype(np.float32)
    inverse_squares = np.array([1.0 / v**2 for v in voxel_size], dtype=np.float32)
    source = np.zeros_like(wrapped)
    _divergence(wrapped.shape[0], wrapped, inside, inverse_squares, True, source)
    solution = _solve(source, inside, inverse_squares, tolerance, max_iterations, threads or -1)
    out = np.zeros(phase.shape, dtype=np.float32)
    out[box] = _nearest_cycle(solution, wrapped, inside)
    return out


def _nearest_cycle(solution: FloatArray, wrapped: FloatArray, inside: BoolArray) -> FloatArray:
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
        _divergence(direction.shape[0], direction, inside, inverse_squares, False, applied)
        step = -product / float(np.vdot(direction, applied))
        solution += np.float32(step) * direction
        residual += np.float32(step) * applied
        preconditioned = precondition(residual)
        previous, product = product, float(np.vdot(residual, preconditioned))
        direction = preconditioned + np.float32(product / previous) * direction
    solution[~inside] = 0
    return solution


@threaded()
def _divergence(
    first: int,
    last: int,
    image: FloatArray,
    inside: BoolArray,
    inverse_squares: FloatArray,
    wrap: bool,
    out: FloatArray,
) -> None:
    """Sum over a voxel's neighbours in the mask of (neighbour - voxel) / h^2, each wrapped if asked for."""
    nx, ny, nz = image.shape
    for x in range(first, last):
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


METHOD = Method(
    unwrap_laplacian,
    phrase="the Laplacian method [@schofield2003]",
    needs=("voxel_size",),
    units={"tolerance": "", "max_iterations": ""},
)
