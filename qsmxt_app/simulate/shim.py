"""Shimming: the scanner removes the smooth part of the field, as far as second-order shims can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.simulate.volume import Volume

_RADIUS_MM = 80.0


@dataclass(frozen=True)
class Shim:
    """Coefficients in ppm of 1, x, y, z, xy, xz, yz, xx - yy, 2zz - xx - yy around a centre, per 80 mm."""

    coefficients: FloatArray
    centre: FloatArray


def fit_shim(field: Volume, brain: NDArray[np.bool_]) -> Shim:
    """Fit the shim to a field over the brain, by least squares.

    Parameters
    ----------
    field : Volume
        ppm.
    brain : ndarray (x, y, z), bool
        On the same grid.
    """
    where = np.argwhere(brain)[::7]
    points = (where * field.spacing + field.origin).astype(np.float64)
    centre = points.mean(axis=0)
    x, y, z = ((points - centre) / _RADIUS_MM).T
    basis = np.stack(
        [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 2 * z * z - x * x - y * y], 1
    )
    coefficients = np.linalg.lstsq(basis, field.data[tuple(where.T)].astype(np.float64), rcond=None)[0]
    return Shim(coefficients.astype(np.float32), centre.astype(np.float32))


def subtract_shim(
    field: FloatArray, shim: Shim, origin: NDArray[np.float64], steps: NDArray[np.float64]
) -> None:
    """Subtract the shim's field in place from a field in ppm on any grid."""
    _subtract(
        field.shape[0],
        field,
        shim.coefficients,
        shim.centre,
        origin.astype(np.float32),
        steps.astype(np.float32),
    )


@threaded()
def _subtract(
    first: int, last: int, field: Any, c: Any, centre: Any, origin: Any, steps: Any
) -> None:  # pragma: no cover
    unit = np.float32(1 / _RADIUS_MM)
    for i in range(first, last):
        for j in range(field.shape[1]):
            for k in range(field.shape[2]):
                x = (origin[0] + i * steps[0, 0] + j * steps[0, 1] + k * steps[0, 2] - centre[0]) * unit
                y = (origin[1] + i * steps[1, 0] + j * steps[1, 1] + k * steps[1, 2] - centre[1]) * unit
                z = (origin[2] + i * steps[2, 0] + j * steps[2, 1] + k * steps[2, 2] - centre[2]) * unit
                field[i, j, k] -= (
                    c[0] + c[1] * x + c[2] * y + c[3] * z + c[4] * x * y + c[5] * x * z + c[6] * y * z
                    + c[7] * (x * x - y * y) + c[8] * (2 * z * z - x * x - y * y)
                )  # fmt: skip
