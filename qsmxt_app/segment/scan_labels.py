"""Labels on the grid of a scan's maps, each brought there once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.registration import Grid, Image, Transform, resample_labels


def labels_on_scan(
    labels: Image,
    to_scan: Transform,
    grid: Grid,
    *,
    nuclei: Image | None = None,
    nuclei_to_scan: Transform | None = None,
    threshold: float = 0.5,
) -> NDArray[np.int32]:
    """Bring labels to the grid of a scan, and leave out voxels that hold too little of any.

    Parameters
    ----------
    labels : Image
        In their own space.
    to_scan : Transform
        From there to the scan.
    grid : Grid
        Of the scan's maps.
    nuclei : Image
        Labels that a map of the scan itself has placed better, in a space of their own: the same numbers
        among `labels` are left out.
    nuclei_to_scan : Transform
        From their space to the scan.
    threshold
        A label must fill more than this share of a voxel.

    Returns
    -------
    ndarray (x, y, z), int32
        0 where there is no label.
    """
    found = resample_labels(labels, grid, to_scan)
    numbers = np.where(found.fraction > threshold, found.labels.array, 0)
    if nuclei is None:
        return np.asarray(numbers, dtype=np.int32)
    placed = resample_labels(nuclei, grid, nuclei_to_scan)
    numbers[np.isin(numbers, np.unique(nuclei.array[nuclei.array > 0]))] = 0
    inside = placed.labels.array > 0
    numbers[inside] = np.where(placed.fraction > threshold, placed.labels.array, 0)[inside]
    return np.asarray(numbers, dtype=np.int32)
