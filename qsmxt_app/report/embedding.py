"""Volumes small enough to be embedded in a page: averaged to larger voxels, few bits a voxel, compressed."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.report.slices import SliceGrid

EMBEDDED = ("magnitude", "chi", "mask", "dseg")
CHI_STEP_PPM = 0.001
LARGEST_SCAN = 2_000_000
SMALLEST_SCAN = 250_000
"""Voxels of a scan in a page: more load slowly, fewer show too little whatever the page may weigh."""
BYTES_PER_VOXEL = 3.1
"""All volumes of a scan together, compressed and in base64: of noise. Heads take 1.2 to 2."""
PAGE_BYTES, LIBRARY_BYTES, PICTURE_BYTES = 15e6, 1.1e6, 2e6
"""Of a page, of the viewer's code, and of all pictures of one scan at 1 mm."""


@dataclass(frozen=True)
class Embedded:
    """A volume as it is embedded in a page.

    Attributes
    ----------
    content
        A compressed NIfTI file in base64.
    labels
        Of a label image: the label of the file for each number from 1 on in the page.
    """

    content: str
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shrinking:
    """The coarser grid of a scan's volumes in a page.

    Attributes
    ----------
    grid
        SliceGrid of the report, whose box is kept.
    shape
        Number of voxels of the coarser grid.
    """

    grid: SliceGrid
    shape: tuple[int, int, int]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Affine from the coarser voxels to scanner coordinates."""
        old = np.subtract(self.grid.upper, self.grid.lower)
        scale = old / self.shape
        to_fine = np.diag([*scale, 1.0])
        to_fine[:3, 3] = self.grid.lower + scale / 2 - 0.5
        return np.asarray(self.grid.ras_affine @ to_fine)

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edges of a coarser voxel in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    def box(self, volume_ras: NDArray[Any]) -> NDArray[Any]:
        """Return the part of a volume that is kept."""
        return volume_ras[tuple(slice(a, b) for a, b in zip(self.grid.lower, self.grid.upper, strict=True))]

    def average(self, volume: NDArray[Any]) -> NDArray[np.float32]:
        """Average over the volume of each coarser voxel."""
        result = np.asarray(volume, dtype=np.float32)
        for axis, count in enumerate(self.shape):
            if count != result.shape[axis]:
                weights = _overlaps(result.shape[axis], count)
                result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
        return result

    def nearest(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Take the voxel in the middle of each coarser voxel."""
        indices = [
            np.floor((np.arange(count) + 0.5) * size / count).astype(int)
            for count, size in zip(self.shape, volume.shape, strict=True)
        ]
        return volume[np.ix_(*indices)]


def plan_shrinking(grid: SliceGrid, voxels: int | None) -> Shrinking:
    """Choose a coarser grid of cubic voxels; no voxel gets smaller than it is.

    Parameters
    ----------
    grid
        SliceGrid of the report.
    voxels
        Largest number of voxels; None keeps all.
    """
    counts = np.subtract(grid.upper, grid.lower)
    shape = counts.copy()
    if voxels is not None and counts.prod() > voxels:
        lengths = counts * np.array(grid.voxel_size)
        edge = float(np.cbrt(lengths.prod() / voxels))
        shape = np.clip(np.floor(lengths / edge), 1, counts).astype(int)
    return Shrinking(grid, (int(shape[0]), int(shape[1]), int(shape[2])))


def voxels_per_scan(volumes: str, scans: int) -> int | None:
    """Return how many voxels of each scan go into a page, None without a limit.

    Parameters
    ----------
    volumes
        `small` or `full`.
    scans
        Number of scans on the page.
    """
    if volumes == "full":
        return None
    count = max(scans, 1)
    available = PAGE_BYTES - LIBRARY_BYTES - count * PICTURE_BYTES
    return int(np.clip(available / count / BYTES_PER_VOXEL, SMALLEST_SCAN, LARGEST_SCAN))


def embed(key: str, volume_ras: NDArray[Any], shrinking: Shrinking) -> Embedded:
    """Shrink a volume and write it as compressed NIfTI in base64.

    Parameters
    ----------
    key
        What it is: one of `EMBEDDED`. The unit of chi is ppm; 0 is outside.
    volume_ras
        (x, y, z) array in RAS+ on the full grid.
    shrinking
        The coarser grid.
    """
    box = shrinking.box(volume_ras)
    labels: Sequence[int] = ()
    slope = 1.0
    if key == "dseg":
        labels, stored = _consecutive(shrinking.nearest(box))
    elif key == "mask":
        stored = (shrinking.average(box != 0) >= 0.5).astype(np.uint8)
    elif key == "chi":
        slope = CHI_STEP_PPM
        stored = _average_inside(box, shrinking, slope)
    else:
        usable = np.where(np.isfinite(box), box, 0)
        positive = usable[usable > 0]
        top = float(np.percentile(positive, 99.8)) if positive.size else 1.0
        stored = np.rint(np.clip(shrinking.average(usable) / top, 0, 1) * 255).astype(np.uint8)
    return Embedded(_nifti(stored, shrinking.affine, slope, key in ("dseg", "mask")), tuple(labels))


def _average_inside(box: NDArray[Any], shrinking: Shrinking, step: float) -> NDArray[np.int16]:
    """Average over the voxels inside only, in whole steps."""
    inside = np.isfinite(box) & (box != 0)
    share = shrinking.average(inside)
    total = shrinking.average(np.where(inside, box, 0))
    mean = np.where(share >= 0.5, total / np.maximum(share, 0.5), 0)
    return np.rint(np.clip(mean / step, -32000, 32000)).astype(np.int16)


def _consecutive(labels: NDArray[Any]) -> tuple[list[int], NDArray[Any]]:
    """Number the labels from 1 on: viewers keep a colour for every number up to the largest."""
    found, position = np.unique(np.rint(np.nan_to_num(labels)).astype(np.int64), return_inverse=True)
    kept = found[found > 0]
    numbers = np.zeros(found.size, dtype=np.uint8 if kept.size < 256 else np.int16)
    numbers[found > 0] = np.arange(1, kept.size + 1)
    return kept.tolist(), numbers[position].reshape(labels.shape)


def _overlaps(old: int, new: int) -> NDArray[np.float32]:
    """Return the share of each of the old voxels in each of the new ones, as rows that sum to one."""
    edges = np.linspace(0, old, new + 1)
    start, end = edges[:-1, None], edges[1:, None]
    voxel = np.arange(old)[None]
    overlap = np.clip(np.minimum(end, voxel + 1) - np.maximum(start, voxel), 0, None)
    return np.asarray(overlap / (end - start), dtype=np.float32)


def _nifti(stored: NDArray[Any], affine: NDArray[np.float64], slope: float, is_label: bool) -> str:
    image = nib.Nifti1Image(stored, affine)
    image.header.set_slope_inter(slope, 0)
    if is_label:
        image.header.set_intent("label")
    image.header.set_xyzt_units("mm")
    # without a time of writing, the same voxels give the same bytes
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode("ascii")
