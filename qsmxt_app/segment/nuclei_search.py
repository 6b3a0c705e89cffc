"""Joint search of nuclei in a map of chi, around the places that the T1w image gives.

A nucleus is a bright body: mean chi in it is above that of a shell around it. Nuclei of one group (those of
the midbrain, the dentate nuclei, the pallidum) of both hemispheres are first shifted together to where their
mean contrast is largest, with the distance from the T1w's place as a quadratic cost; where they do not fit
well, half and twice their volume are tried too. Then each is shifted about that place, those of largest
contrast first, and what one nucleus has taken no other can take.

References
----------
Felzenszwalb PF, Huttenlocher DP. Int J Comput Vis 61:55-79 (2005): parts found jointly, with a cost for their
mutual displacement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.morphology import dilate
from qsmxt_app.registration.image import bounding_box

GROUPS = (
    ("substantia-nigra", "red-nucleus", "subthalamic-nucleus"),
    ("dentate-nucleus",),
    ("globus-pallidus-external", "globus-pallidus-internal"),
)
"""Names of nuclei that are shifted together, of both hemispheres."""
GROUP_REACH_MM, OWN_REACH_MM = 12.0, 4.0
_GROUP_SPREAD_MM, _OWN_SPREAD_MM = 6.0, 2.5
_COST = 0.01
"""ppm that a shift by one spread costs."""
_SHELL_MM = (1.0, 3.5)
_RANGE_PPM = (-0.1, 0.25)
"""Beyond it there are veins, bleeds and calcifications, which must not decide."""
NEAR_MM, CLEAR_GAIN = 3.0, 0.03
"""Shift that a deformation finds by itself, and contrast in ppm that a larger one must gain."""
FAR_MM = 6.0
"""Shift beyond which a nucleus is doubtful although chi shows it."""
LEAST_CONTRAST = 0.025
"""ppm; below it chi does not show a nucleus."""
SCALES = (0.8, 1.26)
"""Of the edges of nuclei of half and twice the volume."""
_FITTING, _SCALE_COST = 0.08, 0.005
"""Mean contrast of a group in ppm above which its size is not doubted, and what another size must gain."""
_LEAST_COVERED = 0.7
_ROUNDS = 2


@dataclass(frozen=True)
class Placement:
    """Where chi shows a nucleus.

    Attributes
    ----------
    shift : tuple of 3 floats
        mm along the axes of the grid, from where the T1w image has it; 0 where chi does not show it.
    contrast
        ppm, mean chi in it minus that of a shell around it.
    gain
        ppm, how much of this contrast the shift has brought.
    doubt
        Why chi does not show it; empty where it does.
    scale
        Of its edges, relative to those that the T1w image gives it.
    """

    shift: tuple[float, float, float]
    contrast: float
    gain: float = 0.0
    doubt: str = ""
    scale: float = 1.0

    @property
    def is_displaced(self) -> bool:
        """Whether chi shows it clearly elsewhere than the T1w image, or of another size."""
        differs = self.scale != 1 or float(np.linalg.norm(self.shift)) > NEAR_MM
        return not self.doubt and self.gain > CLEAR_GAIN and differs

    @property
    def warning(self) -> str:
        """Why its values are doubtful; empty where they are not."""
        distance = float(np.linalg.norm(self.shift))
        return self.doubt or (
            f"moved by {distance:.0f} mm" if self.is_displaced and distance > FAR_MM else ""
        )


@dataclass(frozen=True)
class _Body:
    """A nucleus where the T1w image has it, and what is around it, in a box of their own."""

    inside: FloatArray
    shell: FloatArray
    corner: NDArray[np.int64]

    @classmethod
    def of(cls, mask: BoolArray, others: BoolArray, edge: float) -> _Body:
        near, far = (dilate(mask, width, (edge,) * 3) for width in _SHELL_MM)
        box = bounding_box(far, [0.0] * 3)
        shell = far & ~near & ~others
        corner = np.array([part.start for part in box])
        return cls(mask[box].astype(np.float32), shell[box].astype(np.float32), corner)

    def contrast(
        self, chi: FloatArray, known: FloatArray, centre: NDArray[np.int64], reach: int
    ) -> FloatArray:
        """Contrast at all shifts within `reach` voxels of one, minus infinity where too little is known."""
        from scipy.signal import correlate  # takes longer to import than many a step

        start = self.corner + centre - reach
        size = np.array(self.inside.shape) + 2 * reach
        image, weight = _cut(chi * known, start, size), _cut(known, start, size)
        means = []
        for part in (self.inside, self.shell):
            total = correlate(weight, part, "valid", "fft")
            means.append(correlate(image, part, "valid", "fft") / np.maximum(total, 0.5))
            if part is self.inside:
                covered = total / part.sum()
        return np.where(covered > _LEAST_COVERED, means[0] - means[1], -np.inf)

    def at(self, shift: NDArray[np.int64], shape: tuple[int, ...]) -> BoolArray:
        """Return the body as a mask of the whole grid."""
        points = np.argwhere(self.inside > 0) + self.corner + shift
        points = points[((points >= 0) & (points < shape)).all(axis=1)]
        mask = np.zeros(shape, dtype=bool)
        mask[tuple(points.T)] = True
        return mask


def find_nuclei(
    bodies: Mapping[int, BoolArray], names: Mapping[int, str], chi: FloatArray, known: BoolArray, edge: float
) -> dict[int, Placement]:
    """Find where chi shows nuclei.

    Parameters
    ----------
    bodies
        Mask (x, y, z) of each nucleus where the T1w image has it, by its number.
    names
        Of the nuclei, without their hemisphere.
    chi : ndarray (x, y, z)
        ppm, relative to anything.
    known : ndarray of bool (x, y, z)
        Where chi is known.
    edge
        Edge of the cubic voxels in mm.

    Returns
    -------
    dict
        By number.
    """
    clipped = np.clip(chi, *(np.median(chi[known]) + np.array(_RANGE_PPM))).astype(np.float32)
    weight = known.astype(np.float32)
    every = np.logical_or.reduce(list(bodies.values()))
    present = {n: mask for n, mask in bodies.items() if mask.any()}
    found: dict[int, Placement] = {}
    for group in GROUPS:
        own = {n: mask for n, mask in present.items() if names[n] in group}
        if not own:
            continue
        sized = {1.0: {n: _Body.of(mask, every & ~mask, edge) for n, mask in own.items()}}
        fits = {1.0: _group_shift(list(sized[1.0].values()), clipped, weight, edge)}
        for scale in SCALES if fits[1.0][0] < _FITTING else ():
            sized[scale] = {n: _Body.of(scaled(mask, scale), every & ~mask, edge) for n, mask in own.items()}
            fits[scale] = _group_shift(list(sized[scale].values()), clipped, weight, edge)
        size = max(fits, key=lambda scale: fits[scale][0] - _SCALE_COST * (scale != 1))
        shifts = _own_shifts(sized[size], clipped, weight, fits[size][1], edge)
        found |= {n: placed if placed.doubt else replace(placed, scale=size) for n, placed in shifts.items()}
    missing = {
        n: Placement((0.0, 0.0, 0.0), 0.0, doubt="outside the map") for n in bodies if n not in present
    }
    return found | missing


def scaled(mask: BoolArray, scale: float) -> BoolArray:
    """Grow or shrink a body about its middle.

    Parameters
    ----------
    mask : ndarray of bool (x, y, z)
        Not empty.
    scale
        Of its edges.
    """
    if scale == 1:
        return mask
    points = np.argwhere(mask)
    centre = points.mean(0)
    low = np.maximum(np.floor(centre + scale * (points.min(0) - centre)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(centre + scale * (points.max(0) - centre)).astype(int) + 2, mask.shape)
    there = np.moveaxis(np.indices(high - low), 0, -1) + low
    here = np.rint((there - centre) / scale + centre).astype(int)
    inside = ((here >= 0) & (here < mask.shape)).all(-1)
    result = np.zeros_like(mask)
    result[tuple(there[inside].T)] = mask[tuple(here[inside].T)]
    return result


def _group_shift(
    members: Sequence[_Body], chi: FloatArray, known: FloatArray, edge: float
) -> tuple[float, NDArray[np.int64]]:
    """Return the mean contrast of a group, less its cost, where it is largest, and that shift in voxels."""
    reach = round(GROUP_REACH_MM / edge)
    contrasts = [body.contrast(chi, known, np.zeros(3, int), reach) for body in members]
    score = np.mean([np.maximum(contrast, 0) for contrast in contrasts], axis=0)
    score -= _cost(reach, _GROUP_SPREAD_MM / edge)
    return float(score.max()), np.array(np.unravel_index(int(score.argmax()), score.shape)) - reach


def _own_shifts(
    members: Mapping[int, _Body], chi: FloatArray, known: FloatArray, start: NDArray[np.int64], edge: float
) -> dict[int, Placement]:
    """Shift of each nucleus about that of its group; voxels that one has taken are unknown to the others."""
    reach = round(OWN_REACH_MM / edge)
    cost = _cost(reach, _OWN_SPREAD_MM / edge)
    shifts = {n: np.array(start) for n in members}
    found: dict[int, Placement] = {}
    still = np.zeros(3, dtype=np.int64)
    before = {n: float(body.contrast(chi, known, still, 0)[0, 0, 0]) for n, body in members.items()}
    first = {n: float(body.contrast(chi, known, start, 0)[0, 0, 0]) for n, body in members.items()}
    for _ in range(_ROUNDS):
        taken: dict[int, BoolArray] = {
            n: members[n].at(shifts[n], chi.shape) for n, placed in found.items() if not placed.doubt
        }
        for n in sorted(members, key=lambda n: -first[n]):
            others = [mask for m, mask in taken.items() if m != n]
            free = known * ~np.logical_or.reduce(others) if others else known
            contrast = members[n].contrast(chi, np.asarray(free, np.float32), start, reach)
            best = np.unravel_index(int((contrast - cost).argmax()), contrast.shape)
            shifts[n] = start + np.array(best) - reach
            found[n] = _placement(float(contrast[best]), before[n], shifts[n], edge)
            if not found[n].doubt:
                taken[n] = members[n].at(shifts[n], chi.shape)
    return found


def _placement(contrast: float, before: float, shift: NDArray[np.int64], edge: float) -> Placement:
    if not np.isfinite(contrast):
        return Placement((0.0, 0.0, 0.0), 0.0, doubt="not covered by the map")
    if contrast < LEAST_CONTRAST:
        return Placement((0.0, 0.0, 0.0), contrast, doubt="not visible in chi")
    x, y, z = (float(part) * edge for part in shift)
    return Placement((x, y, z), contrast, contrast - max(before, 0.0))


def _cost(reach: int, spread: float) -> FloatArray:
    """Quadratic cost in ppm of all shifts within a reach."""
    axis = np.arange(-reach, reach + 1) ** 2
    squares = axis[:, None, None] + axis[:, None] + axis
    return np.asarray(_COST * squares / spread**2, dtype=np.float32)


def _cut(array: FloatArray, start: NDArray, size: NDArray) -> FloatArray:
    """Part of an array from a corner that may lie outside, 0 beyond the array."""
    out = np.zeros(size, np.float32)
    low, high = np.maximum(start, 0), np.minimum(start + size, array.shape)
    if (high > low).all():
        here = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        out[here] = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return out
