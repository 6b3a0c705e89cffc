"""R2 from a multi-echo spin-echo scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import FEWEST_SPIN_ECHOES
from qsmxt_app.qsm.relaxation import fit_relaxation


def fit_r2(images: FloatArray, echo_times: Sequence[float], *, mask: BoolArray) -> FloatArray:
    """Fit a mono-exponential decay to all spin echoes but the first.

    Refocusing pulses of less than 180 degrees turn signal into stimulated echoes, which all echoes but the
    first hold: without the first, the decay is nearly exponential. It is slower than R2 nevertheless, by a
    tenth and more for pulses far from 180 degrees, as no model of the pulses corrects it.

    Parameters
    ----------
    images : ndarray (x, y, z, echo)
        Magnitude of three echoes or more.
    echo_times : (echo,)
        s, ascending.
    mask : ndarray of bool (x, y, z)
        Where to fit.

    Returns
    -------
    ndarray (x, y, z)
        1/s, 0 outside the mask.

    Raises
    ------
    ValueError
        If there are fewer echoes, or images and times cannot be used.

    References
    ----------
    Milford D, Rosbach N, Bendszus M, Heiland S. PLoS One 10:e0145255 (2015): leaving out the first echo.
    """
    if len(echo_times) < FEWEST_SPIN_ECHOES:
        raise ValueError(f"R2 needs {FEWEST_SPIN_ECHOES} spin echoes, and there are {len(echo_times)}")
    later = np.ascontiguousarray(images[..., 1:])
    return fit_relaxation(later, list(echo_times)[1:], mask=mask).r2star
