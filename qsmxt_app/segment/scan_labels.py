"""Labels on the grid of a scan's maps, resampled once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import LabelArray
from qsmxt_app.qsm.morphology import nearest_of
from qsmxt_app.registration import Grid, Image, Transform, resample_labels
from qsmxt_app.registration.image import bounding_box

BorderRefinement = Callable[[LabelArray, NDArray[np.float32]], tuple[LabelArray, NDArray[np.float32]]]

_AROUND = 8.0
"""Voxels around the nuclei within which their neighbours are looked for."""


def labels_on_scan(
    labels: Image,
    to_scan: Transform,
    grid: Grid,
    *,
    nuclei: Image | None = None,
    nuclei_to_scan: Transform | None = None,
    refine_borders: BorderRefinement | None = None,
    threshold: float = 0.5,
) -> LabelArray:
    """Resample labels to the grid of a scan, and leave out voxels that no label fills enough.

    Parameters
    ----------
    labels : Image
        In their own space.
    to_scan : Transform
        From there to the scan.
    grid : Grid
        Of the scan's maps.
    nuclei : Image
        LabelArray that a map of the scan itself has placed better, in a space of their own. The same numbers
        among `labels` give way to what lies around them.
    nuclei_to_scan : Transform
        From their space to the scan.
    refine_borders
        Refines the labels there, and the fraction of its voxel that each fills, by a map of the scan.
    threshold
        A label must fill more than this share of a voxel.

    Returns
    -------
    ndarray (x, y, z), int32
        0 where there is no label.
    """
    if nuclei is None:
        found = resample_labels(labels, grid, to_scan)
        numbers, share = found.labels.array, found.fraction
    else:
        numbers, share = _with_nuclei(labels, to_scan, grid, nuclei, nuclei_to_scan)
    if refine_borders is not None:
        numbers, share = refine_borders(numbers, share)
    return np.where(share > threshold, numbers, 0).astype(np.int32)


def _with_nuclei(
    labels: Image, to_scan: Transform, grid: Grid, nuclei: Image, nuclei_to_scan: Transform | None
) -> tuple[LabelArray, NDArray[np.float32]]:
    placed = resample_labels(nuclei, grid, nuclei_to_scan)
    around = resample_labels(_without(labels, np.unique(nuclei.array[nuclei.array > 0])), grid, to_scan)
    nucleus = placed.labels.array > 0
    # what nuclei leave of a voxel is shared by what lies around them
    share = np.where(nucleus, placed.fraction, placed.fraction * around.fraction)
    numbers = np.where(nucleus, placed.labels.array, around.labels.array)
    return numbers.astype(np.int32), share.astype(np.float32)


def _without(labels: Image, numbers: NDArray) -> Image:
    """Give voxels of some labels to the nearest of the others."""
    gone = np.isin(labels.array, numbers)
    if not gone.any():
        return labels
    box = bounding_box(gone, [_AROUND] * 3)
    others = (labels.array[box] > 0) & ~gone[box]
    if not others.any():
        return labels.with_array(np.where(gone, 0, labels.array))
    filled = labels.array.copy()
    filled[box] = np.where(gone[box], nearest_of(labels.array[box], others), labels.array[box])
    return labels.with_array(filled)
