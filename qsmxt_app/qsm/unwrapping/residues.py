"""Phase residues: where no path of an unwrapping is right."""

from __future__ import annotations

import numba
import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray


def phase_residues(phase: FloatArray, *, mask: BoolArray) -> BoolArray:
    """Voxels around which the wrapped phase cannot be unwrapped: the ends of open fringes.

    The wrapped differences around a square of four neighbours sum to zero where phase is that of a field,
    and to a cycle where a fringe ends inside it, whatever the path of an unwrapping.

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
def _cycles(difference: float) -> float:
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
                    if _cycles(b - a) + _cycles(c - b) + _cycles(d - c) + _cycles(a - d) != 0:
                        out[x, y, z] = True
                        out[bx, by, bz] = True
                        out[cx, cy, cz] = True
                        out[dx, dy, dz] = True
