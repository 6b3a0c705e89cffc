"""Masks and images that end where the head does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray

FLAT_FACE = 0.3
"""Share of the largest section that a mask loses from one slice to the next only where it was cut; heads
and brains lose up to 0.17, in slices of 4 mm."""

HALF_CUT = 0.6
"""Share of the largest section at an edge of the image from which half of it is taken to be missing."""

WHOLE_SIDE = 0.5
"""Share of the largest section at the opposite edge from which the image is taken to be a slab or a crop."""

GOES_ON = 0.5
"""Share of the signal that goes on beyond a flat face where a mask was cut and not the image."""


@dataclass(frozen=True)
class Cut:
    """A flat face.

    Attributes
    ----------
    side
        0 to 2 for the low sides of the three axes, 3 to 5 for their high sides.
    share
        Area of the face over that of the largest section along this axis.
    signal
        Magnitude just outside over that just inside.
    """

    side: int
    share: float
    signal: float


def flat_faces(mask: BoolArray, magnitude: FloatArray) -> tuple[Cut, ...]:
    """Find faces at which a mask ends abruptly inside the image, the largest of each side.

    Parameters
    ----------
    mask : ndarray (x, y, z)
        Where the object is taken to be.
    magnitude : ndarray (x, y, z)
        Any unit.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    if mask.shape != magnitude.shape or mask.ndim != 3:
        raise ValueError(f"mask {mask.shape} and magnitude {magnitude.shape} must be volumes of one shape")
    cuts: list[Cut] = []
    for side in range(6):
        axis = side % 3
        inside, image = np.moveaxis(mask, axis, 0), np.moveaxis(magnitude, axis, 0)
        if side >= 3:
            inside, image = inside[::-1], image[::-1]
        lost = inside[1:] & ~inside[:-1]
        areas = lost.sum(axis=(1, 2))
        first = int(np.argmax(areas))
        share = float(areas[first] / max(int(inside.sum(axis=(1, 2)).max()), 1))
        if share > FLAT_FACE:
            within = float(np.mean(image[1:][first][lost[first]]))
            beyond = float(np.mean(image[:-1][first][lost[first]]))
            cuts.append(Cut(side, share, beyond / within if within > 0 else 0.0))
    return tuple(cuts)


def edge_shares(mask: BoolArray) -> NDArray[np.float64]:
    """Area of the mask at each side of the image over the largest section along that axis, as `Cut.side`."""
    shares = np.zeros(6)
    for axis in range(3):
        areas = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        shares[axis], shares[axis + 3] = np.array([areas[0], areas[-1]]) / max(int(areas.max()), 1)
    return shares


def extent_warnings(
    mask: BoolArray, magnitude: FloatArray, b0_direction: Sequence[float] | None = None
) -> tuple[str, ...]:
    """Say where a mask was cut off, and where half of the object is missing.

    Parameters
    ----------
    mask : ndarray (x, y, z)
        Where the object is taken to be.
    magnitude : ndarray (x, y, z)
        Any unit.
    b0_direction
        Unit vector in voxel axes, from feet to head: at its lower side, a neck leaves the image, and
        nothing is said. Without it nothing is said of the third axis' low side.
    """
    upward = np.array([0.0, 0.0, 1.0]) if b0_direction is None else np.asarray(b0_direction)
    axis = int(np.argmax(np.abs(upward)))
    foot = axis if upward[axis] > 0 else axis + 3
    warnings = [_told(cut) for cut in flat_faces(mask, magnitude)]
    shares = edge_shares(mask)
    for side, share in enumerate(shares):
        opposite = shares[(side + 3) % 6]
        if side != foot and share > HALF_CUT and opposite < WHOLE_SIDE:
            warnings.append(
                f"About half of the head lies outside the image. The section at one end of axis "
                f"{'ijk'[side % 3]} is {share:.0%} of the largest one, at the other end {opposite:.0%}. The "
                "field of the missing part cannot be separated from the background field: values within "
                "a few centimetres of that end are wrong. Acquire the whole head, or a centred slab."
            )
    return tuple(warnings)


def _told(cut: Cut) -> str:
    """Say what a flat face means."""
    where = f"{cut.share:.0%} of the largest section ends in one slice across axis {'ijk'[cut.side % 3]}"
    if cut.signal > GOES_ON:
        return (
            f"The mask is cut off. Of it, {where}, and there is signal beyond. Sources outside disturb "
            "values near the cut. Give a mask that follows the head or brain, or let qsmxt make one "
            "(--mask)."
        )
    return (
        f"Part of the object is missing. Of the mask, {where}, and there is no signal beyond, as where half "
        "of a brain was not reconstructed or was erased. Values near the cut are wrong, and its field is "
        "felt centimetres away. Export the images again."
    )
