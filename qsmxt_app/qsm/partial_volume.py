"""What a voxel's phase says of the field at its centre, when its signal comes from one side of it."""

from __future__ import annotations

import numpy as np
from numba import njit

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded

CENTROID_SHIFT = 1 / 6
"""Shift of the signal's centroid, in voxels, per unit of the logarithm of the magnitude from voxel to voxel.

1/12 for a magnitude that changes steadily over the voxel, up to 1/2 for an edge through it.
"""

_FAINTEST = 1e-6
_LARGEST_SHIFT = 0.5
_CUT_OFF = np.float32(-1e30)


def centroid_error(wrapped_field: FloatArray, period: float, magnitude: FloatArray) -> FloatArray:
    """Error of a voxel's field because its signal is not centred on it.

    Where the magnitude falls off within a voxel (bone, air, a vein), its phase is that of the part that has
    signal, and where the field is steep there too, this is not the field at the voxel's centre. The error is
    the field's step to a neighbour times the shift of the signal's centroid, which the magnitude's step
    tells, up to half a voxel; the larger of both sides counts, and the axes add up in squares. A full voxel
    beside an empty one is not told from one that the edge runs through. A
    neighbour that is exactly zero was cut off, not measured, and tells nothing.

    Parameters
    ----------
    wrapped_field : ndarray (x, y, z)
        Hz, modulo `period`.
    period : float
        Hz.
    magnitude : ndarray (x, y, z)
        Magnitude of the first echo, which dephases least; any unit.

    Returns
    -------
    ndarray (x, y, z)
        Hz.
    """
    faintest = np.maximum(np.float32(_FAINTEST) * magnitude.max(), np.finfo(np.float32).tiny)
    logarithm = np.where(magnitude > 0, np.log(np.maximum(magnitude, faintest)), _CUT_OFF)
    error = np.zeros(wrapped_field.shape, np.float32)
    _centroid_error(
        len(error),
        np.ascontiguousarray(wrapped_field, dtype=np.float32),
        np.float32(period),
        np.ascontiguousarray(logarithm, dtype=np.float32),
        error,
    )
    return error


@njit(cache=True, nogil=True)
def _step(
    field: FloatArray,
    period: np.float32,
    logarithm: FloatArray,
    a: tuple[int, int, int],
    b: tuple[int, int, int],
) -> np.float32:
    if logarithm[a] == _CUT_OFF or logarithm[b] == _CUT_OFF:
        return np.float32(0)
    step = field[b] - field[a]
    step -= period * np.rint(step / period)
    shift = min(np.float32(CENTROID_SHIFT) * abs(logarithm[b] - logarithm[a]), np.float32(_LARGEST_SHIFT))
    size: np.float32 = abs(step) * shift
    return size


@threaded()
def _centroid_error(
    first: int, last: int, field: FloatArray, period: np.float32, logarithm: FloatArray, error: FloatArray
) -> None:
    nx, ny, nz = field.shape
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                here = (x, y, z)
                along_x = along_y = along_z = np.float32(0)
                if x > 0:
                    along_x = _step(field, period, logarithm, here, (x - 1, y, z))
                if x < nx - 1:
                    along_x = max(along_x, _step(field, period, logarithm, here, (x + 1, y, z)))
                if y > 0:
                    along_y = _step(field, period, logarithm, here, (x, y - 1, z))
                if y < ny - 1:
                    along_y = max(along_y, _step(field, period, logarithm, here, (x, y + 1, z)))
                if z > 0:
                    along_z = _step(field, period, logarithm, here, (x, y, z - 1))
                if z < nz - 1:
                    along_z = max(along_z, _step(field, period, logarithm, here, (x, y, z + 1)))
                error[here] = np.sqrt(along_x**2 + along_y**2 + along_z**2)
