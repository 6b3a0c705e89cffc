"""Storage of a masked volume as ragged rows, so that cost follows masked voxels and not the field of view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray

IndexArray = NDArray[np.uint64]

MARGIN = 3
"""Voxels around the mask's box: stencil neighbours of stencil neighbours, and one for the coarse grids."""
LANES = 8
"""Floats in a vector: rows start and stop at multiples of it, so that none is left over for scalar code."""

CACHE_LINE = 16
"""Floats in a line of the cache."""


@dataclass(frozen=True)
class RaggedRows:
    """Rows along the last axis of a box, each stored only where its neighbourhood is in the domain.

    A voxel (x, y, z) of the box is at flat position ``base[x, y] + z``. Every position that a 19-point
    stencil centred in ``start[x, y] <= z < stop[x, y]`` reaches is stored, so the kernels need no bounds.

    Attributes
    ----------
    axes
        Order in which the volume's axes are taken: slabs, rows within a slab, along the row.
    crop
        Slices that make the box, of the transposed volume with `MARGIN` voxels added before each axis.
    volume_shape
        Shape of the volume.
    base, start, stop : ndarray (x, y), uint64
    size
        Length of a flat array.
    """

    axes: tuple[int, int, int]
    crop: tuple[slice, slice, slice]
    volume_shape: tuple[int, int, int]
    base: IndexArray
    start: IndexArray
    stop: IndexArray
    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the box."""
        nx, ny, nz = (s.stop - s.start for s in self.crop)
        return nx, ny, nz

    def to_box(self, volume: NDArray, fill: float = 0.0) -> NDArray:
        """Take the box out of a volume, filled where the box reaches beyond it."""
        in_volume, in_box = self._shared
        box = np.full(self.shape, fill, dtype=volume.dtype)
        box[in_box] = volume.transpose(self.axes)[in_volume]
        return box

    def to_volume(self, box: NDArray) -> NDArray:
        """Put a box back into an otherwise empty volume."""
        in_volume, in_box = self._shared
        volume = np.zeros(self.volume_shape, dtype=box.dtype)
        volume.transpose(self.axes)[in_volume] = box[in_box]
        return volume

    @property
    def _shared(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where the (transposed) volume and the box overlap, in each of them."""
        lengths = [self.volume_shape[axis] for axis in self.axes]
        first = [max(s.start - MARGIN, 0) for s in self.crop]
        last = [min(s.stop - MARGIN, n) for s, n in zip(self.crop, lengths, strict=True)]
        shift = [MARGIN - s.start for s in self.crop]
        in_volume = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        in_box = tuple(slice(a + d, b + d) for a, b, d in zip(first, last, shift, strict=True))
        return in_volume, in_box

    @cached_property
    def positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Flat positions of the computed voxels, and their positions in the raveled box."""
        nz = self.shape[2]
        length = (self.stop - self.start).astype(np.int64).ravel()
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        z = within + np.repeat(self.start.astype(np.int64).ravel(), length)
        flat = z + np.repeat(self.base.astype(np.int64).ravel(), length)
        return flat, z + nz * np.repeat(np.arange(length.size), length)

    def flatten(self, box: NDArray, dtype: type = np.float32) -> NDArray:
        """Copy the computed voxels of a box into a new flat array, zero elsewhere."""
        flat, raveled = self.positions
        out: NDArray = np.zeros(self.size, dtype=dtype)
        out[flat] = box.ravel()[raveled]
        return out

    def unflatten(self, values: NDArray) -> NDArray:
        """Inverse of :meth:`flatten`."""
        flat, raveled = self.positions
        out = np.zeros(self.shape, dtype=values.dtype)
        out.ravel()[raveled] = values[flat]
        return out


def ragged_rows(
    mask: BoolArray, axes: tuple[int, int, int] | None = None
) -> tuple[RaggedRows, BoolArray, BoolArray]:
    """Lay out a mask and its one-voxel dilation.

    Parameters
    ----------
    mask : ndarray (x, y, z), bool
        Voxels at which the field equation holds; not empty.
    axes
        Order in which to take the axes; without, the one in which the sweep is fastest.

    Returns
    -------
    rows : RaggedRows
    inside : ndarray of the box, bool
        The mask in the box.
    domain : ndarray of the box, bool
        The mask and every voxel that a 19-point stencil centred in it reaches.
    """
    extent = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    lengths = [int(e[-1] - e[0] + 1) for e in extent]
    # long rows fill the vector units; short slabs keep the ring of extrapolated values in the cache
    longest, second, shortest = sorted(range(3), key=lambda a: -lengths[a])
    axes = axes or (second, shortest, longest)
    # the margin of the padded volume and the margin of the box are the same, hence no offset at the start
    first = [int(extent[a][0]) for a in axes]
    length = [lengths[a] + 2 * MARGIN for a in axes]
    length[2] = -(-length[2] // LANES) * LANES
    crop = tuple(slice(f, f + n) for f, n in zip(first, length, strict=True))
    empty = np.zeros((0, 0), dtype=np.uint64)
    layout = RaggedRows(axes, crop, tuple(mask.shape), empty, empty, empty, 0)  # type: ignore[arg-type]
    inside = layout.to_box(mask, fill=False)
    reach = scipy.ndimage.generate_binary_structure(3, 2)
    domain = scipy.ndimage.binary_dilation(inside, reach)
    start, stop = _row_hull(domain)
    base, size = _row_positions(start, stop, domain.shape)
    return (
        RaggedRows(axes, crop, tuple(mask.shape), base, start, stop, size),  # type: ignore[arg-type]
        inside,
        domain,
    )


def _row_hull(domain: BoolArray) -> tuple[IndexArray, IndexArray]:
    """Whole vectors around each row's part of the domain, with at least one empty voxel at both ends."""
    nz = domain.shape[2]
    filled = domain.any(axis=2)
    first = domain.argmax(axis=2) - 1
    last = nz - domain[:, :, ::-1].argmax(axis=2) + 1
    start = np.where(filled, first // LANES * LANES, 0)
    stop = np.where(filled, -(-last // LANES) * LANES, 0)
    return start.astype(np.uint64), stop.astype(np.uint64)


def _row_positions(start: IndexArray, stop: IndexArray, shape: Sequence[int]) -> tuple[IndexArray, int]:
    """Base of every row and length of a flat array; the ends of a row are empty, so rows need no gap."""
    filled = stop > start
    first = np.where(filled, start.astype(np.int64), shape[2])
    last = np.where(filled, stop.astype(np.int64), 0)
    first = scipy.ndimage.minimum_filter(first, size=3, mode="nearest")
    last = scipy.ndimage.maximum_filter(last, size=3, mode="nearest")
    stored = np.maximum(last - first, 0)
    offset = CACHE_LINE + np.cumsum(stored).reshape(stored.shape) - stored
    # rows that store nothing are never reached; a valid base keeps the arithmetic unsigned
    base = np.where(stored > 0, offset - first, 0)
    if base.min() < 0:
        shift = int(-base.min())
        base = np.where(stored > 0, base + shift, 0)
        offset = offset + shift
    return base.astype(np.uint64), int(offset.max() + stored.max() + CACHE_LINE)


def mean_edge(voxel_size: Sequence[float]) -> float:
    """Edge in mm of a cube of the voxel's volume."""
    edge: float = float(np.prod(voxel_size)) ** (1 / 3)
    return edge


def aligned_zeros(rows: int, columns: int) -> FloatArray:
    """Zeros whose rows start at cache lines, at different offsets modulo a page.

    Rows at the same offset would map to the same sets of the cache.
    """
    stride = -(-columns // 1024) * 1024 + 4 * CACHE_LINE
    memory = np.zeros(rows * stride + CACHE_LINE, dtype=np.float32)
    skip = -(memory.ctypes.data // 4) % CACHE_LINE
    return memory[skip : skip + rows * stride].reshape(rows, stride)[:, :columns]
