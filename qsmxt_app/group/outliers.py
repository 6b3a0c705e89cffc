"""Values that lie far from those of the other participants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LIMIT = 3.5
"""Modified z-score beyond which a value is named (Iglewicz and Hoaglin, 1993, How to Detect Outliers)."""
FEWEST = 5
"""With fewer values no one is out of line."""
_NORMAL = 0.6745
_MEAN_NORMAL = 0.7979


def modified_z_scores(values: Sequence[float]) -> NDArray[np.float64]:
    """Distance of each value from the median, in standard deviations that outliers do not decide.

    Parameters
    ----------
    values
        Finite.

    Returns
    -------
    ndarray
        All 0 where there are fewer than `FEWEST` values, or where all are equal. Where more than half of
        them are equal, the mean deviation stands for the median one.

    Examples
    --------
    >>> modified_z_scores([1.0, 2.0, 3.0, 4.0, 30.0]).round(1).tolist()
    [-1.3, -0.7, 0.0, 0.7, 18.2]
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size < FEWEST:
        return np.zeros(array.size)
    distance = array - np.median(array)
    spread = float(np.median(np.abs(distance))) / _NORMAL
    if spread == 0:
        spread = float(np.mean(np.abs(distance))) / _MEAN_NORMAL
    return np.asarray(distance / spread) if spread > 0 else np.zeros(array.size)
