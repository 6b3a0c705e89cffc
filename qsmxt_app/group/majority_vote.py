"""The label that most participants have."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def majority_vote(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the most frequent label in every voxel; among equals the lowest.

    Parameters
    ----------
    labels : ndarray (n, ...)
        Labels of n scans.

    Returns
    -------
    ndarray (...)

    Examples
    --------
    >>> majority_vote(np.array([[1, 0], [2, 0], [2, 3]], dtype=np.int32)).tolist()
    [2, 0]
    """
    ordered = np.sort(labels, axis=0)
    run = np.ones(ordered.shape[1:], dtype=np.int32)
    most = run.copy()
    winner: NDArray[np.int32] = ordered[0].copy()
    for before, here in pairwise(ordered):
        run = np.where(here == before, run + 1, 1)
        better = run > most
        most[better], winner[better] = run[better], here[better]
    return winner
