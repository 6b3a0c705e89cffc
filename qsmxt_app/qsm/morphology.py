"""Binary morphology with radii in millimetres, for voxels of any shape, and components of masks.

A ball is applied as a squared distance, one axis after the other, within a window as wide as the radius
(the lower envelope of Felzenszwalb and Huttenlocher 2012, cut off at the radius): exact, and its cost grows
with the radius and not with the ball's volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.threads import threaded

_LARGEST_VOID_ML = 2.0
_AIR_REACHES_MM = 10.0


@threaded()
def _lower_envelope(first: int, last: int, squared: FloatArray, penalty: FloatArray, out: FloatArray) -> None:
    # works on the last axis, so that three passes with a transposed view in between cover the volume
    n, reach = squared.shape[1], penalty.size - 1
    for row in range(first, last):
        line = squared[row]
        for i in range(n):
            best = line[i]
            if best == 0:
                out[row, i] = best
                continue
            for j in range(max(0, i - reach), min(n, i + reach + 1)):
                best = min(best, line[j] + penalty[abs(i - j)])
            out[row, i] = best


def squared_distance(mask: BoolArray, furthest: float, voxel_size: Sequence[float]) -> FloatArray:
    """Squared distance to a mask, centre to centre, as far as it matters.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
    furthest
        Distance in mm up to which the result is exact.
    voxel_size
        Voxel edges in mm.

    Returns
    -------
    ndarray (x, y, z)
        In mm^2; something larger than `furthest` squared beyond it.
    """
    squared = np.where(mask, np.float32(0), np.float32(np.inf))
    for axis in range(3):
        reach = int(furthest / voxel_size[axis] + 1e-4)
        moved = np.ascontiguousarray(np.moveaxis(squared, axis, -1))
        if reach > 0:
            flat = moved.reshape(-1, moved.shape[-1])
            penalty = ((np.arange(reach + 1) * float(voxel_size[axis])) ** 2).astype(np.float32)
            moved = np.empty_like(moved)
            _lower_envelope(len(flat), flat, penalty, moved.reshape(flat.shape))
        squared = np.moveaxis(moved, -1, axis)
    return squared


def _within(mask: BoolArray, radius: float, voxel_size: Sequence[float]) -> BoolArray:
    """Voxels whose centre lies no further than `radius` from the centre of a voxel of the mask."""
    squared = squared_distance(mask, radius, voxel_size)
    return np.ascontiguousarray(squared <= np.float32((radius * (1 + 1e-4)) ** 2))


def bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """Slices of the box around a mask and one voxel beside it, as far as the volume goes.

    What is done to the mask and its neighbours in the box equals what is done in the volume.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        Not empty.
    """
    box = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(int(hit[0]) - 1, 0), min(int(hit[-1]) + 2, mask.shape[axis])))
    return tuple(box)


def nearest_of(values: NDArray, known: BoolArray) -> NDArray:
    """Give every voxel the value of the nearest one, in voxels, where values are known.

    Parameters
    ----------
    values : ndarray (x, y, z)
    known : ndarray (x, y, z), bool
        Somewhere at least.
    """
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def nearest_in(values: NDArray, known: BoolArray, wanted: BoolArray) -> NDArray:
    """Return the nearest known value, in voxels, for some voxels alone.

    Parameters
    ----------
    values : ndarray (x, y, z)
    known, wanted : ndarray (x, y, z), bool
        Where values are known, somewhere at least, and where they are not and are wanted.

    Returns
    -------
    ndarray (n,)
        For the voxels that are wanted, in C order.
    """
    if not wanted.any():
        return values[wanted]
    # the nearest known voxel has a neighbour that is not known
    surface = known & ~ndimage.binary_erosion(known, border_value=1)
    places = np.argwhere(surface if surface.any() else known)
    _, nearest = cKDTree(places).query(np.argwhere(wanted))
    return np.asarray(values[tuple(places[nearest].T)])


def dilate(mask: BoolArray, radius: float, voxel_size: Sequence[float]) -> BoolArray:
    """Dilation by a ball.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        The mask.
    radius
        Radius of the ball in mm; 0 leaves the mask as it is.
    voxel_size
        Voxel edges in mm.

    Returns
    -------
    ndarray (x, y, z), bool
        Voxels no further than `radius` from the mask, centre to centre.
    """
    return mask.copy() if radius <= 0 else _within(mask, radius, voxel_size)


def erode(mask: BoolArray, radius: float, voxel_size: Sequence[float]) -> BoolArray:
    """Erosion by a ball; the edge of the volume does not erode.

    A mask that is cut by the field of view keeps its cut face: tissue goes on beyond it.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        The mask.
    radius
        Radius of the ball in mm; 0 leaves the mask as it is.
    voxel_size
        Voxel edges in mm.

    Returns
    -------
    ndarray (x, y, z), bool
        Voxels of the mask further than `radius` from everything outside it.
    """
    return mask.copy() if radius <= 0 else ~_within(~mask, radius, voxel_size)


def close_gaps(mask: BoolArray, radius: float, voxel_size: Sequence[float]) -> BoolArray:
    """Closing by a ball: gaps and channels narrower than its diameter are filled.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        The mask.
    radius
        Radius of the ball in mm; 0 leaves the mask as it is.
    voxel_size
        Voxel edges in mm.

    Returns
    -------
    ndarray (x, y, z), bool
        The closed mask, which contains the mask.
    """
    if radius <= 0:
        return mask.copy()
    margin = [(int(radius / size) + 1,) * 2 for size in voxel_size]
    padded = np.pad(mask, margin)
    closed = erode(dilate(padded, radius, voxel_size), radius, voxel_size)
    return closed[tuple(slice(low, -high) for low, high in margin)] | mask


def fill_holes(mask: BoolArray, max_voxels: float = np.inf) -> BoolArray:
    """Fill holes that no path through face neighbours connects with the edge of the volume.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        The mask.
    max_voxels
        Larger holes stay open: a skull between brain and scalp is not a hole in the brain.

    Returns
    -------
    ndarray (x, y, z), bool
        The mask with its holes.
    """
    labels, count = ndimage.label(~mask)
    if count == 0:
        return mask.copy()
    fill = np.bincount(labels.ravel(), minlength=count + 1) <= max_voxels
    for axis in range(mask.ndim):
        fill[np.unique(labels.take([0, -1], axis=axis))] = False
    fill[0] = False
    filled: BoolArray = mask | fill[labels]
    return filled


def with_inner_voids(known: BoolArray, mask: BoolArray, voxel_size: Sequence[float]) -> BoolArray:
    """Add small voids deep inside a mask to the voxels whose field is known.

    A bleed or a calcification shows in the field around it; a void near the rim holds air.

    Parameters
    ----------
    known, mask : ndarray (x, y, z), bool
        Voxels whose field is known, all of them in the mask, and the mask.
    voxel_size
        mm.
    """
    inner = erode(mask, _AIR_REACHES_MM, voxel_size)
    filled: BoolArray = known | (inner & fill_holes(known, _LARGEST_VOID_ML * 1000 / math.prod(voxel_size)))
    return filled


def fill_holes_in_slices(mask: BoolArray, max_pixels: Sequence[float]) -> BoolArray:
    """Fill what is enclosed in a slice of any of the three orientations.

    A void that opens to the outside in one direction (a strong source above an air sinus) is not a hole in
    three dimensions, yet it is one in the planes across the opening.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        The mask.
    max_pixels
        Largest hole that is filled in slices normal to each of the three axes.

    Returns
    -------
    ndarray (x, y, z), bool
        The mask with its holes.
    """
    filled = mask.copy()
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    for axis in range(3):
        labels, count = ndimage.label(~mask, np.moveaxis(in_plane, 0, axis))
        fill = np.bincount(labels.ravel(), minlength=count + 1) <= max_pixels[axis]
        for edge in range(3):
            if edge != axis:
                fill[np.unique(labels.take([0, -1], axis=edge))] = False
        fill[0] = False
        filled |= fill[labels]
    return filled


def keep_components(mask: BoolArray, *, count: int = 1, min_fraction: float = 0.0) -> BoolArray:
    """The largest connected components (face neighbours).

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        The mask.
    count
        How many components are kept at most.
    min_fraction
        Components smaller than this fraction of the largest are dropped.

    Returns
    -------
    ndarray (x, y, z), bool
        The components; the first in memory order wins where sizes are equal.
    """
    labels, found = ndimage.label(mask)
    if found <= 1:
        return mask.copy()
    sizes = np.bincount(labels.ravel(), minlength=found + 1)
    sizes[0] = 0
    largest = np.argsort(-sizes, kind="stable")[:count]
    keep = np.zeros(found + 1, bool)
    keep[largest] = sizes[largest] >= max(1.0, min_fraction * sizes.max())
    kept: BoolArray = keep[labels]
    return kept
