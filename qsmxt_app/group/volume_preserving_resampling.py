"""Labels resampled to another grid with the volume of each preserved."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from qsmxt_app.arrays import LabelArray
from qsmxt_app.registration.image import Grid, Image
from qsmxt_app.registration.label_resampling import resample_labels
from qsmxt_app.registration.transforms import Transform

MARGIN_VOXELS = 3
DECIMALS = 4
"""To which shares of a voxel are compared: coordinates are known to about a hundred thousandth."""


def resample_preserving_volume(labels: Image, grid: Grid, transform: Transform) -> LabelArray:
    """Resample labels to a grid: each gets the voxels that it fills most, up to its volume there.

    The share of each voxel that a label fills is found as in `resample_labels`; the sum of the shares is the
    label's volume. Voxels go to the largest shares first, until each label has its volume. Where a voxel had
    to be more than half full instead, whatever is thin would shrink: the substantia nigra to two thirds, at
    voxels of 3 mm.

    Parameters
    ----------
    labels : Image
        Whole numbers; 0 is the background.
    grid : Grid
        Where the result lies.
    transform : Transform
        From the labels' space to the grid's.

    Returns
    -------
    ndarray (x, y, z) of int32
        Of equal shares the voxel with the lower index goes first, then the lower label.
    """
    source = np.asarray(labels.array, dtype=np.int32)
    numbers = np.unique(source[source != 0])
    warped = np.zeros(int(np.prod(grid.shape)), np.int32)
    if numbers.size:
        claims = [_claims(source == number, labels, grid, transform) for number in numbers]
        voxels, shares = (np.concatenate([claim[part] for claim in claims]) for part in (0, 1))
        names = np.repeat(np.arange(numbers.size), [len(share) for _, share, _ in claims])
        order = np.lexsort((names, voxels, -shares))
        left = np.array([volume for *_, volume in claims])
        _give(voxels[order], names[order], numbers, left, warped)
    return warped.reshape(grid.shape)


def _claims(
    region: NDArray[np.bool_], labels: Image, grid: Grid, transform: Transform
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Flat indices and shares of the voxels that a region fills a share of, and its volume in voxels."""
    low, shape = _box(region, labels, grid, transform)
    if min(shape) < 1:
        return np.zeros(0, np.int64), np.zeros(0), 0
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    found = resample_labels(Image(region.astype(np.int32), labels.affine), Grid(shape, affine), transform)
    share = np.where(found.labels.array == 1, found.fraction, 1 - found.fraction).astype(np.float64)
    share = np.round(share, DECIMALS)
    places = np.argwhere(share > 0)
    voxels = np.ravel_multi_index(tuple((places + low).T), grid.shape).astype(np.int64)
    return voxels, share[share > 0], round(float(share.sum()))


def _box(
    region: NDArray[np.bool_], labels: Image, grid: Grid, transform: Transform
) -> tuple[NDArray[np.int64], tuple[int, int, int]]:
    """Lowest voxel and shape of the part of the grid in which a region lies."""
    points = np.argwhere(region) @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    there = transform.inverse().map_points(points)
    voxels = (there - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    # a voxel of the labels may be larger than one of the grid
    edges = np.linalg.norm(labels.affine[:3, :3], axis=0).max() / np.linalg.norm(grid.affine[:3, :3], axis=0)
    margin = MARGIN_VOXELS + np.ceil(edges)
    low = np.maximum(np.floor(voxels.min(axis=0)) - margin, 0).astype(np.int64)
    high = np.minimum(np.ceil(voxels.max(axis=0)) + margin + 1, grid.shape).astype(np.int64)
    x, y, z = (high - low).tolist()
    return low, (x, y, z)


@njit(cache=True, nogil=True)
def _give(voxels, names, numbers, left, warped):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Give each voxel to the first that claims it and has not got its volume yet."""
    for voxel, name in zip(voxels, names):  # noqa: B905 - numba knows no strict
        if warped[voxel] == 0 and left[name] > 0:
            warped[voxel] = numbers[name]
            left[name] -= 1
