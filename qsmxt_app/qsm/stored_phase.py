"""What stored voxels tell by themselves about being a phase, and about the cycle that they are wrapped by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.threads import threaded

LIKE_MAGNITUDE = 0.8
"""Rank correlation with the magnitude inside the object from which a phase is taken to be one; phase of
heads stays below 0.2."""

SCALE_TOLERANCE = 0.1
"""Relative difference between the cycle that is declared and the one that wraps show."""

ECHO_TOLERANCE = 0.015
"""Relative difference between a cycle and an echo's wraps from which the echo is rescaled."""

LARGEST_CORRECTION = 1.5
"""Factor beyond which a wrong scale is another unit's and not an echo's own."""

NEARLY_ALL = 0.8
"""Share of the range of values that a step between neighbours exceeds only where phase is wrapped."""

LARGE = 0.65
"""Share of the range that steps of any contrast may exceed."""

FEWEST_WRAPS = 20
WRAPS_AMONG_LARGE = 0.5
"""Share of the large steps that are by nearly the whole range where they are wraps: 0.6 to 1 in phase, 0.3
in noise, up to 0.4 in magnitudes and in phase that was averaged over coils."""

WRAPPED_SHARE = 1e-3
"""Share of such steps in a magnitude from which it is taken to be phase; heads stay below 0.0005."""

_BRIGHT = 0.2
_SAMPLE = 20_000


@dataclass(frozen=True)
class Steps:
    """Steps between neighbours by nearly the whole range of an image.

    Attributes
    ----------
    size
        Range of the values.
    count
        Number of such steps.
    large
        Number of steps by more than `LARGE` of the range.
    share
        Of all steps.
    """

    size: float
    count: int
    large: int
    share: float

    @property
    def are_wraps(self) -> bool:
        """Whether they stand out among the large steps, as those of wrapped phase do."""
        return self.count >= FEWEST_WRAPS and self.count > WRAPS_AMONG_LARGE * self.large


def object_mask(magnitude: FloatArray) -> BoolArray:
    """Voxels with signal: brighter than a fifth of the brightest tissue.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        Any unit.
    """
    return np.asarray(magnitude > _BRIGHT * np.percentile(magnitude[::2, ::2, ::2], 95))


def whole_range_steps(image: FloatArray, mask: BoolArray | None = None) -> Steps:
    """Count the steps by nearly the whole range, which only wrapped phase makes in numbers.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Stored values.
    mask : ndarray (x, y, z), optional
        Both neighbours must lie inside.
    """
    inside = np.ones(image.shape, bool) if mask is None else mask
    # the axes count alike, so that either order of the voxels in memory will do
    if image.flags.f_contiguous:
        image, inside = image.T, inside.T
    values = image if mask is None else image[inside]
    # wrapped phase has no outliers, and its wraps may be few: only the extremes show a cycle
    size = float(np.ptp(values)) if values.size else 0.0
    if not size > 0:
        return Steps(0.0, 0, 0, 0.0)
    limits = np.float32(NEARLY_ALL * size), np.float32(LARGE * size)
    found = np.zeros((image.shape[0], 3), np.int64)
    _count_steps(len(found), np.ascontiguousarray(image), np.ascontiguousarray(inside), *limits, found)
    count, large, total = (int(number) for number in found.sum(axis=0))
    return Steps(size, count, large, count / max(total, 1))


@threaded()
def _count_steps(
    first: int,
    last: int,
    image: FloatArray,
    mask: BoolArray,
    nearly_all: np.float32,
    large: np.float32,
    out: NDArray[np.int64],
) -> None:
    """Count steps above both limits, and all steps, for each plane of the first axis."""
    nx, ny, nz = image.shape
    for x in range(first, last):
        above, some, total = 0, 0, 0
        for y in range(ny):
            for z in range(nz):
                if not mask[x, y, z]:
                    continue
                for axis in range(3):
                    i, j, k = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                    if i < nx and j < ny and k < nz and mask[i, j, k]:
                        step = abs(image[i, j, k] - image[x, y, z])
                        above += step > nearly_all
                        some += step > large
                        total += 1
        out[x, 0] = above
        out[x, 1] = some
        out[x, 2] = total


def wrap_step(stored: FloatArray, magnitude: FloatArray) -> float | None:
    """Size of a cycle in stored units, read off the wraps of the first or the last echo.

    Parameters
    ----------
    stored, magnitude : ndarray (x, y, z, echo)
        Phase in any unit, and magnitude, which tells where there is signal.

    Returns
    -------
    float or None
        None where the phase shows no wraps: it does not reach a cycle, was unwrapped, or is none.
    """
    for echo in (0, -1):
        steps = whole_range_steps(stored[..., echo], object_mask(magnitude[..., echo]))
        if steps.are_wraps:
            return steps.size
    return None


def echo_scales(stored: FloatArray, magnitude: FloatArray, scale: float) -> FloatArray | None:
    """Factors by which single echoes are stretched, as a wrap must be a step of one cycle.

    Parameters
    ----------
    stored, magnitude : ndarray (x, y, z, echo)
        Phase in any unit around zero, and magnitude, which tells where there is signal.
    scale
        rad for one stored unit, as the unit or the range says.

    Returns
    -------
    ndarray (echo,) or None
        1 for echoes that are right or show no wraps; None where all are.
    """
    factors = np.ones(stored.shape[3], np.float32)
    for echo in range(stored.shape[3]):
        steps = whole_range_steps(stored[..., echo], object_mask(magnitude[..., echo]))
        factor = steps.size * scale / (2 * np.pi)
        if steps.are_wraps and abs(factor - 1) > ECHO_TOLERANCE and 1 / factor < LARGEST_CORRECTION > factor:
            factors[echo] = factor
    return None if (factors == 1).all() else factors


def echo_scale_warning(factors: FloatArray) -> str:
    """Say which echoes were rescaled."""
    listed = ", ".join(f"{number} ({factor:.2f})" for number, factor in enumerate(factors, 1) if factor != 1)
    return (
        f"The phase of echo {listed} was stretched by the factor in brackets: its wraps are not steps of "
        "2 pi. It was rescaled. Check how the phase was exported."
    )


def scale_warnings(cycle: float | None, scale: float) -> tuple[str, ...]:
    """Say that phase was scaled by another cycle than its wraps show.

    Parameters
    ----------
    cycle
        In stored units, from :func:`turn_of_wraps`.
    scale
        rad for one stored unit.
    """
    if cycle is None or abs(cycle * scale / (2 * np.pi) - 1) <= SCALE_TOLERANCE:
        return ()
    return (
        f"The phase is wrongly scaled. Its wraps are steps of {cycle:.4g} stored units, which were taken as "
        f"{cycle * scale:.3g} rad; a wrap is 2 pi = 6.28 rad. Correct Units in the sidecar of the phase: "
        "leave it out, or write arbitrary, and the range of the values is taken as one cycle.",
    )


def similarity(
    magnitude: FloatArray, phase: FloatArray, voxels: BoolArray | tuple[NDArray[np.intp], ...]
) -> float:
    """Rank correlation of phase with magnitude inside the object.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z)
        One echo, stored values.
    voxels
        Of the object: a mask, or the indices of some.

    Returns
    -------
    float
        -1 to 1; 0 where one of both is constant or there is no voxel.
    """
    ranks = [_ranks(image[voxels]) for image in (magnitude, phase)]
    spread = float(np.prod([np.std(values) for values in ranks])) if ranks[0].size else 0.0
    if not spread > 0:
        return 0.0
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / spread)


def _ranks(values: FloatArray) -> NDArray[np.float64]:
    """Ranks, equal values sharing their mean (scipy.stats takes longer to import than many a step)."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[place]
    return np.full(values.shape, np.nan) if np.isnan(values).any() else ranks


def _sample(mask: BoolArray) -> tuple[NDArray[np.intp], ...]:
    """Indices of at most about 20,000 voxels of a mask."""
    chosen = np.flatnonzero(mask)
    return np.unravel_index(chosen[:: max(1, chosen.size // _SAMPLE)], mask.shape)


def kind_warnings(magnitude: FloatArray, phase: FloatArray) -> tuple[str, ...]:
    """Say where phase is a magnitude, or both were exchanged.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Stored values.
    """
    echoes = range(phase.shape[3])
    chosen = _sample(object_mask(magnitude[..., 0]))
    alike = [similarity(magnitude[..., echo], phase[..., echo], chosen) for echo in echoes]
    listed = [f"{number}" for number, value in enumerate(alike, 1) if value > LIKE_MAGNITUDE]
    if listed:
        return (
            f"The phase of echo {', '.join(listed)} looks like a magnitude. Its values follow those of the "
            f"magnitude (rank correlation {max(alike):.2f}; phase stays below 0.2). Export the phase images "
            "of the scan, and check which files were named part-phase.",
        )
    # images that were cut out of their background step by their whole range at its border
    inside = (magnitude[..., 0] != 0) & (phase[..., 0] != 0)
    of_magnitude, of_phase = (whole_range_steps(image[..., 0], inside) for image in (magnitude, phase))
    if of_magnitude.share > WRAPPED_SHARE and of_phase.share < 0.2 * of_magnitude.share:
        return (
            "Magnitude and phase seem to be exchanged. The magnitude is wrapped like a phase, and the phase "
            "is not. Check which files were named part-mag and part-phase.",
        )
    return ()
