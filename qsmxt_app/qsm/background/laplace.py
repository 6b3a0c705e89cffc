"""Laplace's equation on a mask with a ragged boundary, solved by multigrid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.conjugate_gradients import inner_product

SMOOTHING_SWEEPS = 2
COARSEST_SWEEPS = 40
JACOBI_DAMPING = 0.75
LARGEST_SERIAL = 1_000_000


def stencil(voxel_size: Sequence[float]) -> FloatArray:
    """Coefficients of the negative 19-point Laplacian.

    The mixed fourth differences cancel the error of the 7-point operator on harmonic functions, so that a
    field from outside is annihilated to fourth order on any voxel size.

    Parameters
    ----------
    voxel_size
        Voxel edges in mm.

    Returns
    -------
    ndarray (7,)
        Coefficients in 1/mm^2 of the centre, of the neighbours along x, y, z, and of the neighbours along the
        diagonals in the planes xy, xz, yz.
    """
    x, y, z = (1.0 / float(h) ** 2 for h in voxel_size)
    xy, xz, yz = (x + y) / 12, (x + z) / 12, (y + z) / 12
    centre = 2 * (x + y + z) - 4 * (xy + xz + yz)
    faces = (2 * (xy + xz) - x, 2 * (xy + yz) - y, 2 * (xz + yz) - z)
    return np.array([centre, *faces, -xy, -xz, -yz], dtype=np.float32)


def _apply(out, u, rhs, inside, c, damping):  # type: ignore[no-untyped-def]
    # damping == 0 writes A u; otherwise one damped Jacobi sweep for A u = rhs
    nx, ny, nz = u.shape
    for i in numba.prange(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if not inside[i, j, k]:
                    continue
                s = c[0] * u[i, j, k]
                s += c[1] * (u[i - 1, j, k] + u[i + 1, j, k])
                s += c[2] * (u[i, j - 1, k] + u[i, j + 1, k])
                s += c[3] * (u[i, j, k - 1] + u[i, j, k + 1])
                s += c[4] * (
                    u[i - 1, j - 1, k] + u[i - 1, j + 1, k] + u[i + 1, j - 1, k] + u[i + 1, j + 1, k]
                )
                s += c[5] * (
                    u[i - 1, j, k - 1] + u[i - 1, j, k + 1] + u[i + 1, j, k - 1] + u[i + 1, j, k + 1]
                )
                s += c[6] * (
                    u[i, j - 1, k - 1] + u[i, j - 1, k + 1] + u[i, j + 1, k - 1] + u[i, j + 1, k + 1]
                )
                # Jacobi, not Gauss-Seidel: the same for any number of threads, and a symmetric smoother
                if damping == 0.0:
                    out[i, j, k] = s
                else:
                    out[i, j, k] = u[i, j, k] + damping / c[0] * (rhs[i, j, k] - s)


def _restrict(fine, inside, fx, fy, fz):  # type: ignore[no-untyped-def]
    nx, ny, nz = inside.shape
    coarse = np.zeros((nx, ny, nz), np.float32)
    taps = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    lx, ly, lz = fine.shape
    for row in numba.prange(nx):
        i = np.int64(row)  # a parallel index is unsigned, and 2 i - 1 is not
        for j in range(ny):
            for k in range(nz):
                if not inside[i, j, k]:
                    continue
                s = np.float32(0.0)
                # the transpose of the prolongation but for a factor, which keeps the V-cycle symmetric
                for a in range(4 if fx == 2 else 1):
                    p = 2 * i - 1 + a if fx == 2 else i
                    wa = taps[a] if fx == 2 else np.float32(1.0)
                    if p < 0 or p >= lx:
                        continue
                    for b in range(4 if fy == 2 else 1):
                        q = 2 * j - 1 + b if fy == 2 else j
                        wb = wa * taps[b] if fy == 2 else wa
                        if q < 0 or q >= ly:
                            continue
                        for d in range(4 if fz == 2 else 1):
                            r = 2 * k - 1 + d if fz == 2 else k
                            if r >= 0 and r < lz:
                                s += (wb * taps[d] if fz == 2 else wb) * fine[p, q, r]
                coarse[i, j, k] = s / (fx * fy * fz)
    return coarse


def _prolong_add(u, coarse, inside, fx, fy, fz):  # type: ignore[no-untyped-def]
    nx, ny, nz = u.shape
    mx, my, mz = coarse.shape
    near, far = np.float32(0.75), np.float32(0.25)
    for row in numba.prange(nx):
        i = np.int64(row)
        for j in range(ny):
            for k in range(nz):
                if not inside[i, j, k]:
                    continue
                s = np.float32(0.0)
                for a in range(2 if fx == 2 else 1):
                    p = i // 2 + (a * (2 * (i % 2) - 1)) if fx == 2 else i
                    wa = (far if a else near) if fx == 2 else np.float32(1.0)
                    if p < 0 or p >= mx:
                        continue
                    for b in range(2 if fy == 2 else 1):
                        q = j // 2 + (b * (2 * (j % 2) - 1)) if fy == 2 else j
                        wb = wa * (far if b else near) if fy == 2 else wa
                        if q < 0 or q >= my:
                            continue
                        for d in range(2 if fz == 2 else 1):
                            r = k // 2 + (d * (2 * (k % 2) - 1)) if fz == 2 else k
                            if r >= 0 and r < mz:
                                s += (wb * (far if d else near) if fz == 2 else wb) * coarse[p, q, r]
                u[i, j, k] += s


def _compiled(parallel: bool) -> tuple[Callable, ...]:
    compile_ = numba.njit(cache=True, nogil=True, parallel=parallel, fastmath=True)
    return tuple(compile_(kernel) for kernel in (_apply, _restrict, _prolong_add))


_SERIAL, _PARALLEL = _compiled(False), _compiled(True)


@dataclass(frozen=True)
class _Level:
    inside: BoolArray
    coefficients: FloatArray
    factors: tuple[int, int, int]  # from the finer level to this one

    @property
    def kernels(self) -> tuple[Callable, ...]:
        # starting threads costs more than a sweep over a coarse level
        return _PARALLEL if self.inside.size > LARGEST_SERIAL else _SERIAL


def _coarser(level: _Level, voxel_size: tuple[float, ...]) -> tuple[_Level, tuple[float, ...]] | None:
    smallest = min(voxel_size)
    # sweeps smooth only along short edges, where neighbours are coupled strongly: long ones are not halved
    factors = tuple(2 if h < 1.6 * smallest else 1 for h in voxel_size)
    inside = level.inside
    padded = np.pad(inside, [(0, -n % f) for n, f in zip(inside.shape, factors, strict=True)])
    blocks = [size for n, f in zip(padded.shape, factors, strict=True) for size in (n // f, f)]
    coarse = padded.reshape(blocks).mean(axis=(1, 3, 5)) > 0.5
    if np.count_nonzero(coarse) < 30:
        return None
    # a border of one voxel keeps the stencil inside the array
    for axis in range(3):
        np.moveaxis(coarse, axis, 0)[[0, -1]] = False
    size = tuple(h * f for h, f in zip(voxel_size, factors, strict=True))
    return _Level(coarse, stencil(size), (factors[0], factors[1], factors[2])), size


class DirichletLaplacian:
    """The negative Laplacian on the interior of a mask, zero outside, and its inverse.

    Parameters
    ----------
    inside : ndarray of bool (x, y, z)
        Where the equation holds. The outermost plane on each side of the array must be empty.
    voxel_size
        Voxel edges in mm.

    Raises
    ------
    ValueError
        If the interior touches the border of the array.

    References
    ----------
    Brandt A. Math Comput 31:333-390 (1977), for the multigrid cycle.
    """

    def __init__(self, inside: BoolArray, voxel_size: Sequence[float]) -> None:
        for axis in range(3):
            if np.moveaxis(inside, axis, 0)[[0, -1]].any():
                raise ValueError("the interior touches the border of the array: pad it by one voxel")
        size = tuple(float(h) for h in voxel_size)
        self.levels = [_Level(np.ascontiguousarray(inside), stencil(size), (1, 1, 1))]
        while (coarser := _coarser(self.levels[-1], size)) is not None:
            level, size = coarser
            self.levels.append(level)

    def apply(self, u: FloatArray, at: BoolArray | None = None) -> FloatArray:
        """Negative Laplacian (1/mm^2) of `u` at the interior voxels (or those given), 0 elsewhere."""
        out = np.zeros_like(u)
        where = self.levels[0].inside if at is None else at
        self.levels[0].kernels[0](out, u, u, where, self.levels[0].coefficients, np.float32(0.0))
        return out

    def cycle(self, rhs: FloatArray, depth: int = 0) -> FloatArray:
        """One symmetric V-cycle from a start of zero: an approximate inverse."""
        level = self.levels[depth]
        c, inside, damping = level.coefficients, level.inside, np.float32(JACOBI_DAMPING)
        apply, _, prolong_add = level.kernels
        last = depth == len(self.levels) - 1
        # the first sweep from zero. As many sweeps come before as after the coarse correction, and their
        # number is fixed: a linear and symmetric operator, as conjugate gradients need of a preconditioner
        u = np.where(inside, rhs * (damping / c[0]), np.float32(0.0))
        other = np.zeros_like(u)
        for _ in range(COARSEST_SWEEPS if last else SMOOTHING_SWEEPS - 1):
            apply(other, u, rhs, inside, c, damping)
            u, other = other, u
        if last:
            return u
        apply(other, u, u, inside, c, np.float32(0.0))
        below = self.levels[depth + 1]
        residual = np.subtract(rhs, other, out=other)
        residual *= inside
        coarse_rhs = below.kernels[1](residual, below.inside, *below.factors)
        prolong_add(u, self.cycle(coarse_rhs, depth + 1), inside, *below.factors)
        other[...] = 0.0
        for _ in range(SMOOTHING_SWEEPS):
            apply(other, u, rhs, inside, c, damping)
            u, other = other, u
        return u

    def approximate_inverse(self, rhs: FloatArray, cycles: int) -> FloatArray:
        """A fixed number of V-cycles: a symmetric linear operator close to the inverse."""
        u = self.cycle(rhs)
        for _ in range(cycles - 1):
            u += self.cycle((rhs - self.apply(u)) * self.levels[0].inside)
        return u

    def solve(self, rhs: FloatArray, *, tolerance: float = 1e-5, max_iterations: int = 50) -> FloatArray:
        """Solve -Laplacian(u) = rhs in the interior by conjugate gradients with a V-cycle as preconditioner.

        Parameters
        ----------
        rhs : ndarray (x, y, z)
            Right-hand side, read at interior voxels only.
        tolerance
            Norm of the residual relative to that of the right-hand side.
        max_iterations
            Cap on the iterations.

        Returns
        -------
        ndarray (x, y, z)
            The solution, 0 outside the interior.
        """
        residual = np.where(self.levels[0].inside, rhs, np.float32(0.0))
        u = np.zeros_like(residual)
        target = tolerance**2 * inner_product(residual, residual)
        step = self.cycle(residual)
        direction, inner = step, inner_product(residual, step)
        for _ in range(max_iterations):
            if inner_product(residual, residual) <= target:
                break
            image = self.apply(direction)
            length = np.float32(inner / inner_product(direction, image))
            u += length * direction
            residual -= length * image
            step = self.cycle(residual)
            inner, previous = inner_product(residual, step), inner
            direction = step + np.float32(inner / previous) * direction
        return u
