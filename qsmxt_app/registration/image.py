"""Images with their place in the world, and their way to ITK and back.

World coordinates are those of NIfTI: mm, x to the right, y to the front, z up. ITK's point to the left and to
the back; the difference is dealt with here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
Shape = tuple[int, int, int]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NEARLY_ORTHOGONAL = 1e-3
_NEARLY_WHOLE = 1e-6


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie.

    Attributes
    ----------
    shape
        Voxels along each axis.
    affine : ndarray (4, 4)
        From voxel indices to world coordinates in mm.
    """

    shape: Shape
    affine: Affine

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edges of a voxel in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def with_voxels(self, ratio: NDArray[np.float64], fewest: int = 1) -> Grid:
        """Other voxels along the same axes over the same box.

        Parameters
        ----------
        ratio : ndarray (3,)
            Edges of the new voxels over those of the old ones.
        fewest
            Least number of voxels along an axis.
        """
        x, y, z = (max(fewest, int(np.ceil(n / r))) for n, r in zip(self.shape, ratio, strict=True))
        affine = np.array(self.affine, dtype=np.float64)
        affine[:3, :3] = affine[:3, :3] * ratio
        affine[:3, 3] += self.affine[:3, :3] @ (ratio - 1) / 2
        return Grid((x, y, z), affine)

    def part(self, box: tuple[slice, ...]) -> Grid:
        """Voxels of a box alone; they keep their place in the world."""
        affine = np.array(self.affine, dtype=np.float64)
        affine[:3, 3] += affine[:3, :3] @ [edge.start for edge in box]
        x, y, z = (edge.stop - edge.start for edge in box)
        return Grid((x, y, z), affine)

    @property
    def is_orthogonal(self) -> bool:
        """Whether the axes stand at right angles, as ITK wants them."""
        axes = self.affine[:3, :3] / np.asarray(self.voxel_size)
        return bool(np.allclose(axes.T @ axes, np.eye(3), atol=_NEARLY_ORTHOGONAL))


@dataclass(frozen=True)
class Image:
    """A volume and its place in the world.

    Attributes
    ----------
    array : ndarray (x, y, z)
        Intensities, labels or a mask, in the voxel frame of the file.
    affine : ndarray (4, 4)
        From voxel indices to world coordinates in mm.
    """

    array: NDArray
    affine: Affine

    @property
    def grid(self) -> Grid:
        """Shape and affine without the voxels."""
        x, y, z = self.array.shape
        return Grid((x, y, z), np.asarray(self.affine, dtype=np.float64))

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edges of a voxel in mm."""
        return self.grid.voxel_size

    def with_array(self, array: NDArray) -> Image:
        """Other voxels in the same place."""
        return Image(array, self.affine)


def crop(image: Image, mask: NDArray[np.bool_], margin_mm: float = 0.0) -> Image:
    """Cut an image to the box around a mask; the voxels that stay keep their place in the world.

    Parameters
    ----------
    image : Image
    mask : ndarray of bool (x, y, z)
    margin_mm
        Width of the rim that is kept around the mask.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    box = bounding_box(mask, [margin_mm / size for size in image.voxel_size])
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ [edge.start for edge in box]
    return Image(image.array[box], affine)


def bounding_box(mask: NDArray[np.bool_], margin: list[float]) -> tuple[slice, slice, slice]:
    """Slices of the box around a mask and a margin in voxels, cut off at the image's edge."""
    if not mask.any():
        raise ValueError("The mask is empty: there is nothing to cut out.")
    box = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        rim = int(np.ceil(margin[axis] - _NEARLY_WHOLE))
        box.append(slice(max(0, int(inside[0]) - rim), int(inside[-1]) + rim + 1))
    return box[0], box[1], box[2]


def to_ants(image: Image) -> Any:
    """Give an image to ITK, in float32.

    Raises
    ------
    ValueError
        The axes do not stand at right angles, or a voxel is not finite.
    """
    from qsmxt_app.registration.library import ants

    if not image.grid.is_orthogonal:
        raise ValueError("The image's affine has a shear, which ITK cannot represent: resample it first.")
    array = np.asarray(image.array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError("The image to be registered holds values that are not finite.")
    affine = RAS_TO_LPS @ image.affine
    spacing = np.asarray(image.voxel_size)
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    return ants.from_numpy(
        array, origin=affine[:3, 3].tolist(), spacing=spacing.tolist(), direction=left @ right
    )


def from_ants(image: Any) -> Image:
    """Take an image (or one component of a field) back from ITK."""
    return Image(image.numpy(), ants_affine(image))


def ants_affine(image: Any) -> Affine:
    """World coordinates of an ITK image's voxels, as NIfTI has them."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(image.direction) * np.asarray(image.spacing)
    affine[:3, 3] = image.origin
    return np.asarray(RAS_TO_LPS @ affine, dtype=np.float64)
