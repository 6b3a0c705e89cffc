# mypy: disable-error-code="no-untyped-def"
"""What is taken from or given back to the measured Laplacian while the iteration runs.

Both corrections change the data and not the operators, so that an iteration costs what it did.
"""

from __future__ import annotations

import numba
import numpy as np
import scipy.fft
import scipy.ndimage
from numba import njit, prange

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.problem import Problem

_PADDING = 4
"""Empty voxels between the periodic copies of the box; the correction reaches two or three voxels."""

_LARGEST_VOXELS = 40.0
"""Structures up to this size, in voxels, count as having edges: the spectrum of anatomy falls as k^-4 below
their wavelength and is flat above."""

_RESIDUAL_WIDTH_VOXELS = 2.0
"""Full width at half maximum of the Gaussian that smooths a residual before it is given back."""

_LEAST_WEIGHT = 0.01


class DataCorrection:
    """The data of a problem, corrected for its own stencil and for what regularisation left in the residual.

    Parameters
    ----------
    problem : Problem
        Its Laplacian is replaced at every correction.
    stencil_limit
        Most of the wave operator's symbol that is corrected, at any wave; 0 for no correction of the stencil.
    """

    def __init__(self, problem: Problem, stencil_limit: float) -> None:
        rows = problem.rows
        self._problem = problem
        self._data = problem.state[sweep.LAPLACIAN].copy()
        self._equation = problem.flags & sweep.EQUATION != 0
        self._deep = scipy.ndimage.binary_erosion(rows.unflatten(self._equation))
        self._shape = [scipy.fft.next_fast_len(n + _PADDING, real=True) for n in rows.shape]
        self._lack: FloatArray | None = None
        if stencil_limit > 0:
            limit = np.float32(stencil_limit)
            self._lack = stencil_lack(  # type: ignore[call-arg]
                *self._shape, problem.coefficients, problem.b0_direction, limit
            )

    def correct_stencil(self) -> None:
        """Take from the data what the exact wave operator would add to the stencil's, for the present map.

        The stencil's dipole kernel is the ratio of its wave operator and the Laplacian. The exact kernel of
        voxels differs from it most for waves of a few voxels and for B0 oblique to the grid, where small
        nuclei came out 5 to 10 % too strong. At most `stencil_limit` of the operator is corrected, so that
        the correction of a correction is always smaller: near the cone, where the kernel vanishes, any error
        is large beside it. Voxels at the rim, where the map ends, are left as they are.
        """
        if self._lack is None:
            return
        problem, rows = self._problem, self._problem.rows
        domain = problem.flags & (sweep.EQUATION | sweep.RIM) != 0
        chi = problem.state[sweep.CHI]
        box = rows.unflatten(np.where(domain, chi - chi[domain].mean(dtype=np.float64), 0).astype(np.float32))
        workers = numba.get_num_threads()
        spectrum = scipy.fft.rfftn(box, s=self._shape, workers=workers)
        spectrum *= -self._lack
        change = scipy.fft.irfftn(spectrum, s=self._shape, workers=workers, overwrite_x=True)
        change = change[tuple(slice(n) for n in rows.shape)]
        problem.state[sweep.LAPLACIAN] = self._data - rows.flatten(np.where(self._deep, change, 0))

    def return_residual(self, share: float) -> None:
        """Give a share of the smoothed residual field back to the data.

        Regularisation lowers contrast and leaves the field of what is missing in the residual, over all of a
        structure, while noise changes from voxel to voxel. Residuals that are smoothed and added back restore
        the former at little of the latter.

        References
        ----------
        Tukey JW. Exploratory Data Analysis, Addison-Wesley (1977), "twicing".
        Osher S, Burger M, Goldfarb D, Xu J, Yin W. Multiscale Model Simul 4:460-489 (2005).
        """
        problem, rows = self._problem, self._problem.rows
        weight = problem.state[sweep.WEIGHT]
        weight = rows.unflatten(np.where(weight < sweep.HELD, weight, 0))
        residual = rows.unflatten(problem.state[sweep.PHI])
        smooth = _smoothed(residual, weight, _RESIDUAL_WIDTH_VOXELS)
        second = sum(
            float(problem.coefficients[sweep.C_LX + axis])
            * (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis) - 2 * smooth)
            for axis in range(3)
        )
        change = np.float32(-share) * rows.flatten(np.asarray(second)) * self._equation
        self._data += change
        problem.state[sweep.LAPLACIAN] += change


def _smoothed(image: FloatArray, weight: FloatArray, width: float) -> FloatArray:
    """Weighted mean over a Gaussian of a full width at half maximum in voxels; 0 where weights are tiny."""
    sigma = width / np.sqrt(8 * np.log(2))
    cover, total = (
        scipy.ndimage.gaussian_filter(a, sigma, mode="constant", truncate=3) for a in (weight, weight * image)
    )
    return np.asarray(np.divide(total, cover, out=np.zeros_like(total), where=cover > _LEAST_WEIGHT))


@njit(cache=True)
def _aliases(index, n, inverse_edge):
    """Two waves of the same samples, and the power that a mean over voxels leaves of each.

    Returns ``k``, its alias, and for both the squared sine cardinal; k in rad per unit length.
    """
    first = np.float32(2 * np.pi) * (index if 2 * index <= n else index - n) / n
    second = first - np.float32(2 * np.pi) if first > 0 else first + np.float32(2 * np.pi)
    sine = np.float32(4) * np.sin(first / 2) ** 2
    power = sine / (first * first) if first != 0 else np.float32(1)
    return first * inverse_edge, second * inverse_edge, power, sine / (second * second)


@njit(parallel=True, cache=True)
def stencil_lack(nx, ny, nz, c, b, limit):
    """Symbol of the exact wave operator less that of the stencil, of minus both.

    The exact operator is the Laplacian's stencil times the dipole kernel. Samples of a wave are also those of
    its aliases, whose kernels differ where B0 is oblique. So the kernel of means over voxels is the mean of
    both along every axis, weighted by the power that edges have there.

    Parameters
    ----------
    nx, ny, nz
        Lengths of the axes in space.
    c : ndarray (22,), float32
        Coefficients of the problem.
    b : ndarray (3,), float32
        Unit vector of B0 in the problem's axes.
    limit
        Most of the stencil's own symbol that the difference may be.

    Returns
    -------
    ndarray (x, y, z // 2 + 1), float32
    """
    half = nz // 2 + 1
    out = np.empty((nx, ny, half), np.float32)
    slowest = np.float32((2 * np.pi / _LARGEST_VOXELS) ** 2)
    for i in prange(nx):
        x = _aliases(i, nx, c[sweep.C_GX])
        for j in range(ny):
            y = _aliases(j, ny, c[sweep.C_GY])
            for k in range(half):
                z = _aliases(k, nz, c[sweep.C_GZ])
                kernel, total = np.float32(0), np.float32(0)
                for alias in range(8):
                    p, q, r = alias & 1, (alias >> 1) & 1, alias >> 2
                    kx, ky, kz = x[p], y[q], z[r]
                    square = kx * kx + ky * ky + kz * kz + np.float32(1e-12)
                    power = x[2 + p] * y[2 + q] * z[2 + r] / (square * square + slowest * slowest)
                    along = kx * b[0] + ky * b[1] + kz * b[2]
                    kernel += power * (np.float32(1 / 3) - along * along / square)
                    total += power
                angles = (x[0] / c[sweep.C_GX], y[0] / c[sweep.C_GY], z[0] / c[sweep.C_GZ])
                sx, sy, sz = np.sin(angles[0]), np.sin(angles[1]), np.sin(angles[2])
                dx, dy, dz = 2 - 2 * np.cos(angles[0]), 2 - 2 * np.cos(angles[1]), 2 - 2 * np.cos(angles[2])
                wave = c[sweep.C_WX] * dx + c[sweep.C_WY] * dy + c[sweep.C_WZ] * dz
                wave += 4 * (c[sweep.C_WXY] * sx * sy + c[sweep.C_WXZ] * sx * sz + c[sweep.C_WYZ] * sy * sz)
                laplacian = c[sweep.C_LX] * dx + c[sweep.C_LY] * dy + c[sweep.C_LZ] * dz
                most = limit * abs(wave)
                lack = min(max(kernel / total * laplacian - wave, -most), most)
                out[i, j, k] = lack
    return out
