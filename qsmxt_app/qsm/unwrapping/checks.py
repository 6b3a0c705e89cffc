"""What every unwrapping refuses."""

from __future__ import annotations

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray


def check_wrapped(phase: FloatArray, mask: BoolArray) -> None:
    """Refuse a phase that cannot be unwrapped inside a mask.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty or the phase contains NaN inside it.
    """
    if phase.ndim != 3 or phase.shape != mask.shape:
        raise ValueError(f"the phase {phase.shape} and the mask {mask.shape} must be volumes of one shape")
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to unwrap")
    if not np.isfinite(phase[mask]).all():
        raise ValueError("the phase contains NaN or infinite values inside the mask")
