# mypy: disable-error-code="no-untyped-def"
"""Multilevel preconditioner of the field equation's dual (BPX).

The equation's normal operator behaves like a bi-Laplacian, whose inverse amplifies a wavelength by its
fourth power. The preconditioner is ``G = I + sum_l 2^l P_l M_l P_l'`` with P_l the prolongation from cells
of 2^l voxels by products of cell-centred linear interpolation (3/4, 1/4), and M_l the cells whose
interpolation stays inside the eroded mask, where the equation's dual vanishes at the boundary. As ``P_l'
P_l`` grows as 8^l, a level gains 16^l.

References
----------
Bramble JH, Pasciak JE, Xu J. Math Comp 55:1-22 (1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numba import njit, prange

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.tgv.compilation import DistinctArrays
from qsmxt_app.qsm.tgv.layout import RaggedRows
from qsmxt_app.qsm.tgv.sweep import MATHS

INNER = np.float32(0.75)
OUTER = np.float32(0.25)


@dataclass
class Multilevel:
    """Coarse grids, finest first, each with a border of one empty cell."""

    values: list[FloatArray]
    gains: list[FloatArray]

    def spread(self, residual: FloatArray, rows: RaggedRows) -> FloatArray:
        """Sum of all coarse levels' contributions, on the finest coarse grid.

        Small grids are visited by one thread: on a busy machine threads cost more to gather than they save.
        """
        _restrict_fine(rows.base, rows.start, rows.stop, rows.shape[2], residual, self.values[0])
        for fine, coarse in zip(self.values, self.values[1:], strict=False):
            _restrict(fine, coarse)
        last = len(self.values) - 1
        for level in range(last, -1, -1):
            coarser = self.values[level + 1] if level < last else self.values[level]
            prolong = _prolong if level else _prolong_finest
            prolong(coarser, self.values[level], self.gains[level], level < last)
        return self.values[0]


def build_multilevel(inside: BoolArray, max_levels: int = 5) -> Multilevel | None:
    """Coarse grids over a mask; None where it is too thin for any."""
    # a correction that reached the mask's outermost voxels would not vanish at the boundary, as eta does
    usable = scipy.ndimage.binary_erosion(inside)
    values: list[FloatArray] = []
    gains: list[FloatArray] = []
    for level in range(1, max_levels + 1):
        usable = _coarsen(usable)
        if not usable.any():
            break
        padded = np.pad(usable, 1)
        values.append(np.zeros(padded.shape, np.float32))
        gains.append(padded.astype(np.float32) * np.float32(2.0**level))
    return Multilevel(values, gains) if values else None


def _coarsen(fine: BoolArray) -> BoolArray:
    """Cells all of whose 64 children are set."""
    # a cell consists of 2 x 2 x 2 finer ones, and linear interpolation spreads it over one more on each side
    for axis in range(3):
        padded = np.pad(fine, [(1, 3) if a == axis else (0, 0) for a in range(3)])
        padded = np.moveaxis(padded, axis, 0)
        n = (fine.shape[axis] + 1) // 2
        # position 2 X - 1 + s of the unpadded array is 2 X + s of the padded one
        children = [padded[s : s + 2 * n : 2][:n] for s in range(4)]
        fine = np.moveaxis(np.logical_and.reduce(children), 0, axis)
    return fine


@njit(parallel=True, cache=True, nogil=True, fastmath=MATHS)
def _restrict_fine(base, start, stop, nz, fine, coarse):
    """Restrict ragged rows to the finest coarse grid, one coarse slab at a time."""
    nx, ny = base.shape
    cells_x, cells_y, cells_z = coarse.shape
    one = np.uint64(1)
    for cx in prange(1, cells_x - 1):
        # The adjoint of the interpolation: along each axis, four voxels count 1/4, 3/4, 3/4, 1/4. Summing one
        # axis after the other takes 12 products a cell in place of 64.
        x0 = 2 * (cx - 1) - 1
        plane = np.zeros((2 * cells_y, 2 * cells_z + 2), np.float32)
        for s in range(4):
            x = x0 + s
            if x < 0 or x >= nx:
                continue
            weight = INNER if 0 < s < 3 else OUTER
            for y in range(ny):
                if stop[x, y] <= start[x, y]:
                    continue
                k = base[x, y]
                for z in range(start[x, y], stop[x, y]):
                    plane[y + 1, z + one] += weight * fine[k + z]
        line = np.zeros(2 * cells_z + 2, np.float32)
        for cy in range(1, cells_y - 1):
            y = 2 * (cy - 1)
            for z in range(nz + 2):
                line[z] = OUTER * (plane[y, z] + plane[y + 3, z]) + INNER * (
                    plane[y + 1, z] + plane[y + 2, z]
                )
            for cz in range(1, cells_z - 1):
                z = 2 * (cz - 1)
                coarse[cx, cy, cz] = OUTER * (line[z] + line[z + 3]) + INNER * (line[z + 1] + line[z + 2])


@njit(cache=True, nogil=True, fastmath=MATHS)
def _restrict(fine, coarse):
    """Restrict a coarse grid to the next coarser one."""
    nx, ny, nz = np.uint64(fine.shape[0]), np.uint64(fine.shape[1]), np.uint64(fine.shape[2])
    cells_y, cells_z = np.uint64(coarse.shape[1]), np.uint64(coarse.shape[2])
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    line = np.zeros(max(nz, two * cells_z), np.float32)
    for cx in range(one, np.uint64(coarse.shape[0]) - one):
        for cy in range(one, cells_y - one):
            line[:] = 0
            for sx in range(four):
                for sy in range(four):
                    x, y = two * cx - two + sx, two * cy - two + sy
                    if x < nx and y < ny:
                        of_x = INNER if one <= sx <= two else OUTER
                        of_y = INNER if one <= sy <= two else OUTER
                        for z in range(nz):
                            line[z] += of_x * of_y * fine[x, y, z]
            for cz in range(one, cells_z - one):
                first = two * cz - two
                outer, inner = line[first] + line[first + three], line[first + one] + line[first + two]
                coarse[cx, cy, cz] = OUTER * outer + INNER * inner


@njit(nogil=True, fastmath=MATHS, pipeline_class=DistinctArrays)
def _prolong_slab(x, coarse, fine, gain, add):
    """Weigh a slab's own values by its gain, and add the interpolation of the next coarser grid."""
    one, two = np.uint64(1), np.uint64(2)
    ny, nz, cells_z = np.uint64(fine.shape[1]), np.uint64(fine.shape[2]), np.uint64(coarse.shape[2])
    # fine cell x (of the bordered grid) lies in coarse cell cx and next to coarse cell dx
    cx = (x + one) // two
    dx = cx - one if x % two == one else cx + one
    line = np.zeros(cells_z, np.float32)
    row = np.zeros(max(nz, two * cells_z), np.float32)
    for y in range(one, ny - one):
        cy = (y + one) // two
        dy = cy - one if y % two == one else cy + one
        if add:
            for cz in range(cells_z):
                near = INNER * coarse[cx, cy, cz] + OUTER * coarse[cx, dy, cz]
                far = INNER * coarse[dx, cy, cz] + OUTER * coarse[dx, dy, cz]
                line[cz] = INNER * near + OUTER * far
            for cz in range(one, cells_z - one):
                row[two * cz - one] = INNER * line[cz] + OUTER * line[cz - one]
                row[two * cz] = INNER * line[cz] + OUTER * line[cz + one]
        for z in range(one, nz - one):
            fine[x, y, z] = gain[x, y, z] * fine[x, y, z] + row[z]


@njit(cache=True, nogil=True, fastmath=MATHS)
def _prolong(coarse, fine, gain, add):
    """Prolong to a small grid."""
    for x in range(np.uint64(1), np.uint64(fine.shape[0] - 1)):
        _prolong_slab(x, coarse, fine, gain, add)


@njit(parallel=True, cache=True, nogil=True, fastmath=MATHS)
def _prolong_finest(coarse, fine, gain, add):
    """Prolong to the finest of the coarse grids, on all threads."""
    for x in prange(1, fine.shape[0] - 1):
        _prolong_slab(np.uint64(x), coarse, fine, gain, add)


@njit(parallel=True, cache=True, nogil=True, fastmath=MATHS)
def ascend_multilevel(seams, base, start, stop, sigma, cap, residual, coarse, eta):
    """Ascend in the dual of the field equation along the preconditioned residual."""
    one = np.uint64(1)
    half = np.uint64(2)
    for t in prange(seams.size - 1):
        line = np.zeros(coarse.shape[2], np.float32)
        fine = np.zeros(2 * coarse.shape[2], np.float32)
        for x in range(seams[t], seams[t + 1]):
            cx = x // half + one
            dx = cx - one if x % half == 0 else cx + one
            for y in range(one, np.uint64(base.shape[1] - 1)):
                lo, hi = start[x, y], stop[x, y]
                if hi <= lo:
                    continue
                cy = y // half + one
                dy = cy - one if y % half == 0 else cy + one
                for cz in range(lo // half, hi // half + one + one + one):
                    near = INNER * coarse[cx, cy, cz] + OUTER * coarse[cx, dy, cz]
                    far = INNER * coarse[dx, cy, cz] + OUTER * coarse[dx, dy, cz]
                    line[cz] = INNER * near + OUTER * far
                for cz in range(lo // half + one, hi // half + one + one):
                    fine[half * (cz - one)] = INNER * line[cz] + OUTER * line[cz - one]
                    fine[half * (cz - one) + one] = INNER * line[cz] + OUTER * line[cz + one]
                k = base[x, y]
                for z in range(lo, hi):
                    new = eta[k + z] + sigma * (residual[k + z] + fine[z])
                    eta[k + z] = min(max(new, -cap[k + z]), cap[k + z])
