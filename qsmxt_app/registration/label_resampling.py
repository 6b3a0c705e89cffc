"""Labels on another grid, in one interpolation that knows that they are labels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from qsmxt_app.qsm.threads import threaded
from qsmxt_app.registration.image import Grid, Image
from qsmxt_app.registration.resample import ResampledLabels, in_slabs, indices, slab_points
from qsmxt_app.registration.transforms import Transform

MOST_SAMPLES = 5
"""Samples along one edge of a voxel: a fifth of the edge is fine enough for any share of it."""
_LOOKED_AT = 4
"""Every how many rows of voxels the distance of neighbours is looked at."""
_BLOCK = 4
"""Voxels of labels along an edge of the blocks that are looked at as a whole."""
EQUAL = 1e-4
"""Shares of a voxel that differ by less are equal: coordinates are known to about a hundred thousandth."""


def resample_labels(labels: Image, grid: Grid, transform: Transform | None = None) -> ResampledLabels:
    """Bring labels from their space to a grid in another, and say how full of its label each voxel is.

    The share of a voxel that a label fills is its membership (1 where the label is, 0 elsewhere),
    interpolated linearly at points spread evenly over the voxel, as many as it takes to see every voxel of
    the labels, and averaged. So a voxel of 3 mm over labels of 1 mm counts all that it holds, and not what
    lies at its centre. Labels are never mixed into numbers between them.

    Parameters
    ----------
    labels : Image
        Whole numbers; 0 is the background, which is also outside the image.
    grid : Grid
        Where the result lies.
    transform : Transform
        From the labels' space to the grid's. None: both are the same world.

    Returns
    -------
    ResampledLabels
        Among labels that fill equally much the lowest wins, the background before all.

    Notes
    -----
    Every voxel of the box that labels come to is mapped once, whatever the number of points in it, and memory
    is that of three such volumes, whatever the number of labels: within a voxel the mapping counts as linear.
    """
    through = transform or Transform()
    whole = np.zeros(grid.shape, np.int32), np.ones(grid.shape, np.float32)
    box = reached_box(labels, grid, through)
    part = grid.part(box)
    if min(part.shape) > 0:
        coordinates = np.empty((*part.shape, 3), dtype=np.float32)

        def fill(slab: slice) -> None:
            coordinates[slab] = indices(slab_points(part, slab), through, labels.affine)

        in_slabs(fill, part)
        source = np.ascontiguousarray(labels.array, dtype=np.int32)
        found = np.empty(part.shape, np.int32), np.empty(part.shape, np.float32)
        _resample(part.shape[0], source, coordinates, _samples_per_edge(coordinates), *found)
        whole[0][box], whole[1][box] = found
    return ResampledLabels(Image(whole[0], grid.affine), whole[1])


def reached_box(labels: Image, grid: Grid, transform: Transform) -> tuple[slice, slice, slice]:
    """Box of a grid beyond which labels of another space do not come.

    Parameters
    ----------
    labels : Image
        0 is the background.
    grid : Grid
    transform : Transform
        From the labels' space to the grid's.
    """
    # the background is most of an image, and mapping its voxels most of the work
    padded = np.pad(labels.array != 0, [(0, -n % _BLOCK) for n in labels.array.shape])
    x, y, z = (n // _BLOCK for n in padded.shape)
    present = padded.reshape(x, _BLOCK, y, _BLOCK, z, _BLOCK).any(axis=(1, 3, 5))
    centres = np.argwhere(present) * _BLOCK + (_BLOCK - 1) / 2
    if len(centres) == 0:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    points = transform.inverse().map_points(centres @ labels.affine[:3, :3].T + labels.affine[:3, 3])
    to_index = np.linalg.inv(grid.affine)
    index = points @ to_index[:3, :3].T + to_index[:3, 3]
    margin = _BLOCK * max(labels.voxel_size) / np.asarray(grid.voxel_size) + 1
    low = np.clip(np.floor(index.min(0) - margin), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(index.max(0) + margin) + 1, low, grid.shape).astype(int)
    u, v, w = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return u, v, w


def _samples_per_edge(coordinates: NDArray[np.float32]) -> tuple[int, int, int]:
    """How many samples along each edge of a voxel are no further apart than the voxels of the labels."""
    counts = []
    for axis in range(3):
        some = tuple(slice(None, None, 1 if axis == a else _LOOKED_AT) for a in range(3))
        steps = np.diff(coordinates[some], axis=axis)
        lengths = np.sqrt((steps * steps).sum(axis=-1))
        step = float(np.median(lengths)) if lengths.size else 1.0
        counts.append(int(np.clip(np.ceil(step - 1e-3), 1, MOST_SAMPLES)))
    return counts[0], counts[1], counts[2]


@njit(cache=True, nogil=True)
def _step(coordinates, x, y, z, axis):  # type: ignore[no-untyped-def]
    """Change of the coordinates over one voxel along an axis."""
    here = (x, y, z)
    a, b, c = int(axis == 0), int(axis == 1), int(axis == 2)
    back, on = int(here[axis] > 0), int(here[axis] + 1 < coordinates.shape[axis])
    before = coordinates[x - back * a, y - back * b, z - back * c]
    after = coordinates[x + on * a, y + on * b, z + on * c]
    width = max(1, back + on)
    return (after[0] - before[0]) / width, (after[1] - before[1]) / width, (after[2] - before[2]) / width


@njit(cache=True, nogil=True)
def _add_memberships(labels, i, j, k, found, shares, count):  # type: ignore[no-untyped-def]
    """Add the linear memberships of all labels at a point; return how many labels were found by now."""
    low_i, low_j, low_k = int(np.floor(i)), int(np.floor(j)), int(np.floor(k))
    for corner in range(8):
        a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
        weight = abs(1 - a - (i - low_i)) * abs(1 - b - (j - low_j)) * abs(1 - c - (k - low_k))
        if weight == 0:
            continue
        label = 0
        u, v, w = low_i + a, low_j + b, low_k + c
        if 0 <= u < labels.shape[0] and 0 <= v < labels.shape[1] and 0 <= w < labels.shape[2]:
            label = labels[u, v, w]
        slot = 0
        while slot < count and found[slot] != label:
            slot += 1
        if slot == count:
            found[slot], shares[slot] = label, 0
            count += 1
        shares[slot] += weight
    return count


@njit(cache=True, nogil=True)
def _fullest(found, shares, count):  # type: ignore[no-untyped-def]
    """Return the label with the largest share (of equals the lowest) and that share."""
    best, share = found[0], shares[0]
    for slot in range(1, count):
        tied = abs(shares[slot] - share) < EQUAL
        if (tied and found[slot] < best) or (not tied and shares[slot] > share):
            best, share = found[slot], shares[slot]
    return best, share


@njit(cache=True, nogil=True)
def _alone(labels, i, j, k, reach):  # type: ignore[no-untyped-def]
    """Return the one label within a reach along each axis of a point, -1 where there are several."""
    first = -1
    for u in range(int(np.floor(i - reach[0])), int(np.floor(i + reach[0])) + 2):
        for v in range(int(np.floor(j - reach[1])), int(np.floor(j + reach[1])) + 2):
            for w in range(int(np.floor(k - reach[2])), int(np.floor(k + reach[2])) + 2):
                label = 0
                if 0 <= u < labels.shape[0] and 0 <= v < labels.shape[1] and 0 <= w < labels.shape[2]:
                    label = labels[u, v, w]
                if first >= 0 and label != first:
                    return -1
                first = label
    return first


@threaded()
def _resample(first, last, labels, coordinates, samples, resampled, fraction):  # type: ignore[no-untyped-def]
    points = samples[0] * samples[1] * samples[2]
    found, shares = np.empty(8 * points, np.int32), np.empty(8 * points, np.float64)
    for x in range(first, last):
        for y in range(coordinates.shape[1]):
            for z in range(coordinates.shape[2]):
                centre = coordinates[x, y, z]
                step_x = _step(coordinates, x, y, z, 0)
                step_y = _step(coordinates, x, y, z, 1)
                step_z = _step(coordinates, x, y, z, 2)
                a, b, c = (0.5 - 0.5 / samples[0], 0.5 - 0.5 / samples[1], 0.5 - 0.5 / samples[2])
                reach = (
                    a * abs(step_x[0]) + b * abs(step_y[0]) + c * abs(step_z[0]),
                    a * abs(step_x[1]) + b * abs(step_y[1]) + c * abs(step_z[1]),
                    a * abs(step_x[2]) + b * abs(step_y[2]) + c * abs(step_z[2]),
                )
                alone = _alone(labels, centre[0], centre[1], centre[2], reach)
                if alone >= 0:
                    resampled[x, y, z], fraction[x, y, z] = alone, 1
                    continue
                count = 0
                for point in range(points):
                    p = (point // (samples[1] * samples[2]) + 0.5) / samples[0] - 0.5
                    q = ((point // samples[2]) % samples[1] + 0.5) / samples[1] - 0.5
                    r = (point % samples[2] + 0.5) / samples[2] - 0.5
                    i = centre[0] + p * step_x[0] + q * step_y[0] + r * step_z[0]
                    j = centre[1] + p * step_x[1] + q * step_y[1] + r * step_z[1]
                    k = centre[2] + p * step_x[2] + q * step_y[2] + r * step_z[2]
                    count = _add_memberships(labels, i, j, k, found, shares, count)
                resampled[x, y, z], share = _fullest(found, shares, count)
                fraction[x, y, z] = share / points
