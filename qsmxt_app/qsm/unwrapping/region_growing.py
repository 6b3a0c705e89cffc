"""Region growing along the most reliable edges, for ROMEO: edge weights and a bucket queue.

Regions grow in every direction, so neighbours should lie close together in memory. Voxels are therefore kept
in tiles of 8 x 8 x 8, each of which fills a page of 4 kB. A voxel takes eight bytes: its phase (four), the
costs of the edges to its upper neighbours (three), and its state, which is the cost of the cheapest edge by
which the voxel has been reached so far. A margin of one voxel on all sides spares the checks of borders.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.threads import threaded

VISITED, NO_EDGE = 0, 255
"""Costs of edges lie between."""

SIDE = 8
TILE = SIDE**3
MOST_CYCLES = 1024
"""In either direction, up to which the median of a region is centred."""

_TWO_PI = np.float32(2 * np.pi)
_INVERSE_TWO_PI = np.float32(1 / (2 * np.pi))
_INVERSE_PI = np.float32(1 / np.pi)
_TINY = np.float32(1e-30)
_FIRST_CAPACITY = 4096
_NOTHING = np.uint32(2**32 - 1)


@numba.njit(cache=True, nogil=True, inline="always")
def _wrap(angle: np.float32) -> np.float32:
    return angle - _TWO_PI * np.float32(np.rint(angle * _INVERSE_TWO_PI))


@numba.njit(cache=True, nogil=True, inline="always")
def _cost(step: np.float32, one: np.float32, other: np.float32, change: np.float32) -> int:
    # one minus the product of the weights for coherence of phase, magnitude and phase gradient, in levels
    similarity = min(one, other) / max(one, other, _TINY)
    coherence = max(np.float32(0), np.float32(1) - abs(change))
    weight = (np.float32(1) - abs(step) * _INVERSE_PI) * similarity * similarity * coherence
    return 1 + int(np.rint(np.float32(NO_EDGE - 2) * (np.float32(1) - weight)))


@numba.njit(cache=True, nogil=True, inline="always")
def _address(x: Any, y: Any, z: Any, tiles: tuple[int, int, int]) -> Any:
    # position of a voxel of the volume among the tiles, one voxel from their outer border
    x, y, z = x + 1, y + 1, z + 1
    tile = ((x // SIDE) * tiles[1] + y // SIDE) * tiles[2] + z // SIDE
    return tile * TILE + ((x % SIDE) * SIDE + y % SIDE) * SIDE + z % SIDE


def tiles_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the number of tiles along each axis that hold a volume and its margin."""
    x, y, z = (-(-(n + 2) // SIDE) for n in shape)
    return x, y, z


@threaded()
def edges_in_tiles(
    first: int,
    last: int,
    phase: FloatArray,
    magnitude: FloatArray,
    second: FloatArray,
    ratio: float,
    mask: BoolArray,
    tiles: tuple[int, int, int],
    data: FloatArray,
) -> None:
    """Put the phase and the costs of all edges into tiles.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        rad.
    magnitude : ndarray (x, y, z), or (0, 0, 0) for none
        Any unit, not negative.
    second : ndarray (x, y, z), or (0, 0, 0) for none
        Phase of another echo in rad.
    ratio
        Echo time of `phase` over that of `second`.
    mask : ndarray (x, y, z)
        Where edges are.
    tiles
        Of :func:`tiles_of`.
    data : ndarray (2 * x * y * z * TILE,) for x, y, z tiles
        Zeros, to be filled: the phase at even places. The bytes at odd ones are the costs along x, y and z,
        from 1 (reliable) to 254, or `NO_EDGE` where the edge leaves the mask; and the state, `VISITED`
        outside it.
    """
    nx, ny, nz = phase.shape
    table = data.view(np.uint8)
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                if not mask[x, y, z]:
                    continue
                voxel = _address(x, y, z, tiles)
                data[2 * voxel] = phase[x, y, z]
                table[8 * voxel + 7] = NO_EDGE
                for axis in range(3):
                    table[8 * voxel + 4 + axis] = NO_EDGE
                    i, j, k = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                    if i == nx or j == ny or k == nz or not mask[i, j, k]:
                        continue
                    step = _wrap(phase[i, j, k] - phase[x, y, z])
                    one = other = np.float32(1)
                    if magnitude.size:
                        one, other = magnitude[x, y, z], magnitude[i, j, k]
                    change = np.float32(0)
                    if second.size:
                        change = step - np.float32(ratio) * _wrap(second[i, j, k] - second[x, y, z])
                    table[8 * voxel + 4 + axis] = _cost(step, one, other, change)


def neighbour_steps(tiles: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return the way in memory from each place of a tile to the neighbours up and down each axis.

    Returns
    -------
    ndarray (6 * TILE,)
        Six directions for each place: up x, down x, up y, down y, up z, down z.
    """
    steps = np.empty((SIDE, SIDE, SIDE, 3, 2), np.int64)
    inner = (SIDE**2, SIDE, 1)
    outer = (tiles[1] * tiles[2] * TILE, tiles[2] * TILE, TILE)
    for axis in range(3):
        along = np.moveaxis(steps[..., axis, :], axis, 0)
        along[..., 0], along[..., 1] = inner[axis], -inner[axis]
        along[-1, ..., 0] = outer[axis] - (SIDE - 1) * inner[axis]
        along[0, ..., 1] = (SIDE - 1) * inner[axis] - outer[axis]
    return steps.reshape(-1)


@numba.njit(cache=True, nogil=True)
def grow_regions(data: FloatArray, steps: NDArray[np.int64], smallest: int) -> None:
    """Unwrap by growing regions along the cheapest edges.

    Of all edges between visited and other voxels the cheapest is taken next, so a region grows along a
    minimum spanning tree, whichever voxel it starts from. The queue has a stack for each cost. A voxel enters
    it again only by a cheaper edge than before, so that memory is bounded by the number of edges.

    Parameters
    ----------
    data : ndarray
        Of :func:`edges_in_tiles`. Whole cycles are added to the phase, so that the median of each connected
        region is closest to zero.
    steps : ndarray
        Of :func:`neighbour_steps`.
    smallest
        Connected regions with fewer voxels keep their phase.
    """
    table = data.view(np.uint8)
    # Prim's algorithm. Costs are whole numbers below 255, so that the queue needs no heap: a stack for each
    # cost, and the lowest one that may hold something (`bucket`), make both operations take constant time.
    region = np.empty(np.count_nonzero(table[7::8]), np.uint32)
    stored = np.empty(smallest, np.float32)  # phase of the first voxels of a region
    counts = np.zeros(2 * MOST_CYCLES, np.int64)  # voxels of the region whose phase is nearest to each cycle
    # entries of the queue: voxel and direction; the entry below in its stack. Free entries are a stack too
    queue = np.empty((_FIRST_CAPACITY, 2), np.uint32)
    top = np.full(NO_EDGE + 1, _NOTHING, np.uint32)
    for seed in range(data.size // 2):
        if table[8 * seed + 7] == VISITED:
            continue
        voxel, near, size, bucket, used = seed, seed, 0, NO_EDGE, 0
        top[NO_EDGE] = _NOTHING
        while voxel >= 0:
            phase = data[2 * voxel]
            if size < smallest:
                stored[size] = phase
            # the cycle nearest to the neighbour from which the voxel was reached
            phase += _TWO_PI * np.float32(np.rint((data[2 * near] - phase) * _INVERSE_TWO_PI))
            data[2 * voxel] = phase
            cycle = int(np.rint(phase * _INVERSE_TWO_PI))
            counts[MOST_CYCLES + min(max(cycle, -MOST_CYCLES), MOST_CYCLES - 1)] += 1
            table[8 * voxel + 7] = VISITED
            region[size] = voxel
            size += 1
            if used + 6 > queue.shape[0]:
                queue = np.concatenate((queue, np.empty_like(queue)))
            bucket, used = _push(voxel, bucket, used, steps, table, queue, top)
            near, voxel, bucket = _pop(bucket, steps, table, queue, top)
        if size < smallest:
            for n in range(size):
                data[2 * np.int64(region[n])] = stored[n]
        else:
            _centre(data, region[:size], counts)
        counts[:] = 0


@numba.njit(cache=True, nogil=True)
def _push(
    voxel: Any, bucket: Any, used: int, steps: NDArray, table: NDArray, queue: NDArray, top: NDArray
) -> tuple[Any, int]:
    """Queue the neighbours that an edge from a voxel reaches more cheaply than any before."""
    place = 6 * (voxel % TILE)
    for direction in range(6):
        neighbour = voxel + steps[place + direction]
        # an edge's cost is kept at its lower end; odd directions go down
        lower = neighbour if direction & 1 else voxel
        cost = table[8 * lower + 4 + (direction >> 1)]
        # also false for a voxel that was visited or lies outside the mask
        if cost < table[8 * neighbour + 7]:
            table[8 * neighbour + 7] = cost
            # the stack of NO_EDGE, a cost that no edge has, holds the entries that are free
            entry = top[NO_EDGE]
            if entry == _NOTHING:
                entry = np.uint32(used)
                used += 1
            else:
                top[NO_EDGE] = queue[entry, 1]
            queue[entry, 0], queue[entry, 1] = 8 * neighbour + direction, top[cost]
            top[cost] = entry
            bucket = min(bucket, np.int64(cost))
    return bucket, used


@numba.njit(cache=True, nogil=True)
def _pop(bucket: Any, steps: NDArray, table: NDArray, queue: NDArray, top: NDArray) -> tuple[Any, Any, Any]:
    """Take the cheapest edge to an unvisited voxel: where it comes from, the voxel (-1 if none), its cost."""
    while bucket < NO_EDGE:
        entry = top[bucket]
        if entry == _NOTHING:
            bucket += 1
            continue
        top[bucket] = queue[entry, 1]
        way = np.int64(queue[entry, 0])
        voxel, direction = way >> 3, way & 7
        queue[entry, 1] = top[NO_EDGE]
        top[NO_EDGE] = entry
        # a voxel may be queued several times; only its cheapest entry, which comes first, counts
        if table[8 * voxel + 7] != VISITED:
            return voxel + steps[6 * (voxel % TILE) + (direction ^ 1)], voxel, bucket
    return -1, -1, bucket


@numba.njit(cache=True, nogil=True)
def _centre(data: FloatArray, region: NDArray[np.uint32], counts: NDArray[np.int64]) -> None:
    """Shift a region by whole cycles so that the median of its phase is closest to zero."""
    median, below = 0, counts[0]
    while 2 * below < region.size:
        median += 1
        below += counts[median]
    if median != MOST_CYCLES:
        for voxel in region:
            data[2 * np.int64(voxel)] -= _TWO_PI * np.float32(median - MOST_CYCLES)


@threaded()
def phase_from_tiles(
    first: int, last: int, data: FloatArray, mask: BoolArray, tiles: tuple[int, int, int], out: FloatArray
) -> None:
    """Put the phase of :func:`edges_in_tiles` into a volume, in the mask."""
    _, ny, nz = mask.shape
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                if mask[x, y, z]:
                    out[x, y, z] = data[2 * _address(x, y, z, tiles)]
