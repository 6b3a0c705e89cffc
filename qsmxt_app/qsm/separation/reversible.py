"""R2', the part of R2* that a spin echo refocuses, and how well it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import STATIC_DEPHASING
from qsmxt_app.qsm.relaxation import fit_relaxation

TYPICAL_R2 = 11.5
"""R2 of brain tissue at 3 T, 1/s, where it is not measured."""
LEAST_NOISE = 1.5
"""Error of R2' at 3 T in quiet voxels, 1/s: of the models of both decays."""
LEAST_SIGNAL = 0.3
"""Share of the signal that the slope of the field leaves, below which it is not corrected further."""


@dataclass(frozen=True)
class ReversibleRelaxation:
    """R2' and how well it is known.

    Attributes
    ----------
    r2prime, noise : ndarray (x, y, z)
        1/s; R2' is 0 outside the mask.
    measured
        Share of the mask in which R2 was measured.
    """

    r2prime: FloatArray
    noise: FloatArray
    measured: float


def relaxivity(field_strength: float, constant: float = STATIC_DEPHASING) -> float:
    """Return R2' of a ppm of sources in 1/s: static dephasing grows with the field.

    Examples
    --------
    >>> relaxivity(3.0), round(relaxivity(7.0), 1)
    (137.0, 319.7)
    """
    return constant * field_strength / 3


def typical_r2(field_strength: float) -> float:
    """Return R2 of brain tissue in 1/s, which grows less than the field does.

    Examples
    --------
    >>> typical_r2(3.0), round(typical_r2(7.0), 1)
    (11.5, 17.6)
    """
    return TYPICAL_R2 * (0.6 + 0.4 * field_strength / 3)


def reversible_relaxation(
    magnitude: FloatArray,
    r2: NDArray | None,
    mask: BoolArray,
    *,
    field: NDArray,
    echo_times: Sequence[float],
    field_strength: float,
) -> ReversibleRelaxation:
    """Fit R2* without what the slope of the field adds to it, and subtract R2.

    Parameters
    ----------
    magnitude : ndarray (x, y, z, echo)
        Any unit.
    r2 : ndarray (x, y, z), optional
        1/s, 0 where it was not measured: that of tissue on average is taken there.
    mask : ndarray of bool (x, y, z)
        Where R2' is wanted.
    field : ndarray (x, y, z)
        Total field, Hz.
    echo_times
        s.
    field_strength
        T.

    References
    ----------
    Fernandez-Seara MA, Wehrli FW. Magn Reson Med 44:358-366 (2000): the decay divided by a sinc.
    """
    slopes = [_slope(field, mask, axis) for axis in range(3)]
    kept = np.ones(magnitude.shape, np.float32)
    for slope in slopes:
        kept *= np.sinc(slope[..., None] * np.asarray(echo_times, np.float32))
    corrected = (magnitude / np.maximum(np.abs(kept), LEAST_SIGNAL)).astype(np.float32)
    r2star = fit_relaxation(corrected, echo_times, mask=mask).r2star
    known = np.zeros(mask.shape, np.float32) if r2 is None else np.asarray(r2, np.float32)
    there = (known > 0) & mask
    r2prime = np.maximum(r2star - np.where(there, known, np.float32(typical_r2(field_strength))), 0)
    quiet = LEAST_NOISE * field_strength / 3
    noise = np.where(there, quiet, 2 * quiet) + _dephasing_rate(slopes, echo_times[-1]) / 2
    return ReversibleRelaxation(
        np.where(mask, r2prime, 0).astype(np.float32),
        noise.astype(np.float32),
        float(there.sum() / mask.sum()),
    )


def _slope(field: NDArray, mask: BoolArray, axis: int) -> FloatArray:
    """Return by how many Hz the field grows across a voxel, from its neighbours in the mask; 0 without."""
    values, known = (np.moveaxis(np.asarray(image), axis, 0) for image in (field, mask))
    difference = np.diff(values, axis=0).astype(np.float32)
    both = known[1:] & known[:-1]
    total, count = np.zeros(values.shape, np.float32), np.zeros(values.shape, np.float32)
    for side in (slice(1, None), slice(None, -1)):
        total[side] += np.where(both, difference, 0)
        count[side] += both
    return np.moveaxis(total / np.maximum(count, 1), 0, axis)


def _dephasing_rate(slopes: Sequence[FloatArray], last: float) -> FloatArray:
    """Return what slopes add to R2*, 1/s: a sinc of d Hz falls by (pi d t)^2 / 6, here to the last echo."""
    squared = np.sum([slope**2 for slope in slopes], axis=0)
    return np.asarray(np.minimum(np.pi**2 * squared * last / 6, 1e3), np.float32)
