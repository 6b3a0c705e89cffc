"""Magnitude that ends where the brain does: what is zero outside was cut off, not measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.magnitude import smooth_level
from qsmxt_app.qsm.morphology import fill_holes, keep_components

FEWEST_ZEROS = 0.1
"""Fraction of exact zeros in an image whose background was set to zero; noise is hardly ever exactly zero."""

LOW_SIGNAL = 0.3
"""Share of the local level of the signal below which a voxel holds bone or air."""

TISSUE_SHARE = 0.95
"""Share of what is left above `LOW_SIGNAL` from which only a brain is left: 0.999 in simulated brains, 0.87
to 0.93 with 4 mm around them, 0.81 to 0.85 in heads, for their skull and air."""

PARTS, SMALLEST_PART = 8, 0.01
"""Connected parts that are kept, and the least share of the largest that they have: in large voxels the
cerebellum may lie apart."""


def stripped_brain(magnitude: FloatArray, voxel_size: Sequence[float]) -> BoolArray | None:
    """Return where a magnitude was left when skull and scalp were cut off, or None where they were not.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        Of all echoes combined, any unit.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z), bool, or None
        What is not zero, with its holes filled and without scattered voxels.
    """
    left = magnitude > 0
    if not left.any() or np.count_nonzero(left) > (1 - FEWEST_ZEROS) * left.size:
        return None
    brain = fill_holes(keep_components(left, count=PARTS, min_fraction=SMALLEST_PART))
    share = np.mean((magnitude > LOW_SIGNAL * smooth_level(magnitude, voxel_size))[brain])
    return brain if share >= TISSUE_SHARE else None
