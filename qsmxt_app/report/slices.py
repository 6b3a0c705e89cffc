"""Which slices a report shows, and how they lie: geometry on arrays, without files or colours.

Pictures follow the neurological convention: the participant's left is on the left of the picture, front and
head are up, and in sagittal pictures the front is on the right. Volumes are turned to the nearest
axis-aligned orientation (RAS+), never interpolated, so every pixel is a voxel that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PLANES = ("axial", "coronal", "sagittal")
_NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}
_SIDES = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}
_COORDINATE = {"axial": "z", "coronal": "y", "sagittal": "x"}


@dataclass(frozen=True)
class SliceGrid:
    """A voxel grid turned to RAS+: its shape, voxel size in mm, affine, and the part that is shown.

    Attributes
    ----------
    affine
        (4, 4) array, the affine of the file.
    file_shape
        Shape of the volume as it is stored.
    lower, upper
        First voxel shown and the one after the last, in RAS+ order.
    oriented
        Whether the file says how it lies in the scanner; if not, no side has a name.
    """

    affine: NDArray[np.float64]
    file_shape: tuple[int, int, int]
    lower: tuple[int, int, int]
    upper: tuple[int, int, int]
    oriented: bool = True

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Voxel size in mm in RAS+ order."""
        x, y, z = np.sqrt((self.ras_affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def ras_affine(self) -> NDArray[np.float64]:
        """Affine of the volume after it was turned to RAS+."""
        turn = nib.orientations.inv_ornt_aff(_orientation(self.affine), self.file_shape)
        return np.asarray(self.affine @ turn)

    def matches(self, affine: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
        """Whether a file lies on this grid, so that its slices can be shown beside the others."""
        return tuple(shape[:3]) == self.file_shape and np.allclose(affine, self.affine, atol=1e-2)


@dataclass(frozen=True)
class Cut:
    """One slice of the grid: the plane and the index along its normal, in RAS+ voxels."""

    plane: str
    index: int

    @property
    def sides(self) -> tuple[str, str]:
        """Letters for what is on the left and on the right of the picture."""
        return _SIDES[self.plane]

    def position(self, grid: SliceGrid) -> str:
        """Scanner coordinate of the middle of the slice, as text such as `z = -12 mm`."""
        axis = _NORMAL[self.plane]
        middle = [(low + high - 1) / 2 for low, high in zip(grid.lower, grid.upper, strict=True)]
        middle[axis] = self.index
        coordinate = float((grid.ras_affine @ [*middle, 1.0])[axis])
        return f"{_COORDINATE[self.plane]} = {round(coordinate)} mm".replace("-", "\N{MINUS SIGN}")


def to_ras(volume: Array, affine: NDArray[np.float64]) -> Array:
    """Turn a stored volume to RAS+ by flips and transposes; the result is a view.

    Parameters
    ----------
    volume
        (i, j, k) array as stored.
    affine
        (4, 4) array from voxel indices to scanner coordinates in mm.
    """
    return np.asarray(nib.orientations.apply_orientation(volume, _orientation(affine)))


def make_grid(mask: Array, affine: NDArray[np.float64], *, margin_mm: float = 8.0) -> SliceGrid:
    """Make the grid of a report: the box around the mask with a margin, or everything if the mask is empty.

    Parameters
    ----------
    mask
        (i, j, k) array as stored; voxels that are not zero count.
    affine
        (4, 4) array.
    margin_mm
        What is shown around the mask.
    """
    shape = (int(mask.shape[0]), int(mask.shape[1]), int(mask.shape[2]))
    grid = SliceGrid(np.asarray(affine, dtype=np.float64), shape, (0, 0, 0), (1, 1, 1))
    inside = to_ras(mask != 0, affine)
    lower, upper = [], []
    for axis, size in enumerate(inside.shape):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(inside.any(axis=others))
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, size)
        margin = round(margin_mm / grid.voxel_size[axis]) if grid.voxel_size[axis] > 0 else 0
        lower.append(max(first - margin, 0))
        upper.append(min(last + margin, size))
    return SliceGrid(grid.affine, shape, (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def plan_cuts(grid: SliceGrid, counts: dict[str, int]) -> tuple[Cut, ...]:
    """Choose evenly spaced slices through the middle 60 % of the box; equal neighbours are kept once.

    Parameters
    ----------
    grid
        The grid of the report.
    counts
        Number of slices for each plane.
    """
    cuts: list[Cut] = []
    for plane, count in counts.items():
        axis = _NORMAL[plane]
        low, high = grid.lower[axis], grid.upper[axis] - 1
        # The ends of a head show little; an odd count of sagittal slices would put one on the midline.
        fractions = np.linspace(0.22, 0.78, count) if count > 1 else np.array([0.52])
        indices = np.rint(low + fractions * (high - low)).astype(int)
        cuts.extend(Cut(plane, int(index)) for index in dict.fromkeys(indices))
    return tuple(cuts)


def take(volume_ras: Array, grid: SliceGrid, cut: Cut) -> Array:
    """Return the picture of one slice: rows from top to bottom, columns from left to right.

    Parameters
    ----------
    volume_ras
        (x, y, z) array in RAS+ on the full grid.
    grid
        The grid of the report.
    cut
        Plane and index.
    """
    box: list[slice | int] = [slice(low, high) for low, high in zip(grid.lower, grid.upper, strict=True)]
    box[_NORMAL[cut.plane]] = cut.index
    return np.ascontiguousarray(volume_ras[tuple(box)].T[::-1])


def size_mm(grid: SliceGrid, cut: Cut) -> tuple[float, float]:
    """Width and height of the picture of a slice in mm."""
    lengths = [
        (high - low) * size for low, high, size in zip(grid.lower, grid.upper, grid.voxel_size, strict=True)
    ]
    width, height = (length for axis, length in enumerate(lengths) if axis != _NORMAL[cut.plane])
    return width, height


def _orientation(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    orientation = np.asarray(nib.orientations.io_orientation(affine))
    if np.isnan(orientation).any():
        raise ValueError("the affine is singular, so the image has no orientation")
    return orientation
