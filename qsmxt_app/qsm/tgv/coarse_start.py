# mypy: disable-error-code="no-untyped-def"
"""Start of a large problem from the solution on a grid of half the resolution.

Smooth components converge slowest, and on a grid of twice the voxel's edge an iteration costs an eighth.
All variables, the dual ones too, are continued onto the fine grid: a susceptibility map alone would be lost
while the duals grow.
"""

from __future__ import annotations

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.layout import MARGIN
from qsmxt_app.qsm.tgv.problem import Problem
from qsmxt_app.qsm.threads import threaded

SMALLEST = 150_000
"""Voxels of a coarse mask that are worth a start; smaller problems take seconds anyway."""

_LEAST_SHARE = 0.6  # of the volume that the coarse mask must keep: thin slabs and sheets lose theirs
_LEAST_COVER = np.float32(0.05)
_PAD = 4

# The unit of length is half as large: w is half, the duals of first derivatives are twice and those of second
# derivatives four times as large.
_SCALES = {sweep.PHI: 1.0, sweep.CHI: 1.0, sweep.WX: 0.5, sweep.WY: 0.5, sweep.WZ: 0.5}
_SCALES |= dict.fromkeys(range(sweep.PX, sweep.PZ + 1), 2.0)
_SCALES |= dict.fromkeys(range(sweep.QXX, sweep.ETA + 1), 4.0)

_EXISTS = {
    sweep.PX: sweep.P_X, sweep.PY: sweep.P_Y, sweep.PZ: sweep.P_Z,
    sweep.QXX: sweep.Q_XX, sweep.QYY: sweep.Q_YY, sweep.QZZ: sweep.Q_ZZ,
    sweep.QXY: sweep.Q_XY, sweep.QXZ: sweep.Q_XZ, sweep.QYZ: sweep.Q_YZ,
    sweep.ETA: sweep.EQUATION,
}  # fmt: skip


def halve(
    laplacian: FloatArray, mask: BoolArray, weight: FloatArray | None, tissue: BoolArray | None
) -> tuple[FloatArray, BoolArray, FloatArray | None, BoolArray | None] | None:
    """The same data on cells of 2x2x2 voxels.

    Parameters
    ----------
    laplacian, mask, weight, tissue : ndarray (x, y, z)
        As of the problem.

    Returns
    -------
    tuple or None
        Laplacian smoothed by (1, 3, 3, 1)/8 along every axis within the mask, cells all of whose voxels are
        in the mask, mean weights, cells most of which are tissue; None where a start is not worth it.
    """
    size = [(0, n % 2) for n in mask.shape]
    mask = np.pad(mask, size)
    inside = mask.astype(np.float32)
    coarse = _means(inside) > 0.999
    count = int(np.count_nonzero(coarse))
    if count < SMALLEST or 8 * count < _LEAST_SHARE * np.count_nonzero(mask):
        return None
    cover = _smooth(inside)
    data = _smooth(np.where(mask, np.pad(laplacian, size), np.float32(0)))
    data = np.divide(data, cover, out=np.zeros_like(data), where=cover > 0)
    return (
        data,
        coarse,
        None if weight is None else _means(np.pad(weight, size)),
        None if tissue is None else _means(np.pad(tissue, size).astype(np.float32)) > 0.5,
    )


def _means(image: FloatArray) -> FloatArray:
    nx, ny, nz = image.shape
    blocks = image.reshape(nx // 2, 2, ny // 2, 2, nz // 2, 2)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _smooth(image: FloatArray) -> FloatArray:
    for axis in range(3):
        padded: FloatArray = np.moveaxis(
            np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(3)]), axis, 0
        )
        outer, inner = padded[:-3:2] + padded[3::2], padded[1:-2:2] + padded[2:-1:2]
        image = np.moveaxis((outer + 3 * inner) / np.float32(8), 0, axis).astype(np.float32)
    return image


def continue_on(coarse: Problem, fine: Problem) -> None:
    """Fill the variables of a fine problem from those of the problem on cells of 2x2x2 voxels.

    Cell-centred linear interpolation (3/4, 1/4); primal variables are divided by the share of their cells
    that the coarse problem has.
    """
    state, rows = fine.state, fine.rows
    origin = np.array([c.start - MARGIN + 2 * _PAD for c in rows.crop], dtype=np.int64)
    known = _cells(coarse, (coarse.state[sweep.WEIGHT] < sweep.HELD).astype(np.float32), fine)
    cover = np.zeros_like(state[sweep.CHI])
    _interpolate(rows.shape[0], rows.base, rows.start, rows.stop, origin, known, cover)
    np.maximum(cover, _LEAST_COVER, out=cover)
    for k, scale in _SCALES.items():
        cells = _cells(coarse, coarse.state[k], fine) * np.float32(scale)
        if k <= sweep.WZ:
            cells *= known
        _interpolate(rows.shape[0], rows.base, rows.start, rows.stop, origin, cells, state[k])
        if k <= sweep.WZ:
            state[k] /= cover
        state[k] *= fine.flags & _EXISTS[k] != 0 if k in _EXISTS else state[sweep.WEIGHT] < sweep.HELD
    cap = state[sweep.CAP]
    np.clip(state[sweep.ETA], -cap, cap, out=state[sweep.ETA])


def _cells(coarse: Problem, values: FloatArray, fine: Problem) -> FloatArray:
    """Values of the coarse problem as a volume with the fine problem's axes, and empty cells around it."""
    volume = coarse.rows.to_volume(coarse.rows.unflatten(values)).transpose(fine.rows.axes)
    return np.pad(volume, _PAD)


@threaded(fastmath=sweep.MATHS)
def _interpolate(first, last, base, start, stop, origin, cells, out):
    """Interpolate cells at the computed voxels of all rows: across the rows first, and then along them."""
    near, far = np.float32(0.75), np.float32(0.25)
    for x in range(first, last):
        line = np.zeros(cells.shape[2], np.float32)
        fx = x + origin[0]
        ix, jx = fx // 2, fx // 2 - 1 + 2 * (fx % 2)
        for y in range(base.shape[1]):
            if stop[x, y] <= start[x, y]:
                continue
            fy = y + origin[1]
            iy, jy = fy // 2, fy // 2 - 1 + 2 * (fy % 2)
            for z in range(cells.shape[2]):
                line[z] = near * (near * cells[ix, iy, z] + far * cells[ix, jy, z]) + far * (
                    near * cells[jx, iy, z] + far * cells[jx, jy, z]
                )
            row = np.int64(base[x, y])
            for z in range(np.int64(start[x, y]), np.int64(stop[x, y])):
                fz = z + origin[2]
                iz, jz = fz // 2, fz // 2 - 1 + 2 * (fz % 2)
                if max(iz, jz) < cells.shape[2]:
                    out[row + z] = near * line[iz] + far * line[jz]
