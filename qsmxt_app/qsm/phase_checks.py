"""Faults of wrapped phase that make a susceptibility map wrong without making any step fail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.magnitude import smooth_level
from qsmxt_app.qsm.threads import threaded
from qsmxt_app.qsm.unwrapping.residues import phase_residues

STRONG_SIGNAL = 0.5
"""Share of the local tissue level above which a voxel's phase cannot be noise."""

CALM_STEP = 0.7
"""Mean step between neighbours in rad below which fringes are too wide to end by undersampling."""

OPEN_FRINGES_MM = 12.0
"""Length of a singular line from which coils are taken to be combined without their phase: veins and small
bleeds have loops of up to 8 mm around them, and lines of coils run through the head."""

DEAD_COHERENCE = 0.2
"""Coherence of neighbouring voxels below which an echo is taken to be noise."""

FILTERED = 0.88
"""Alignment of the slow phase from which it is taken to have been filtered away: 0.9 and more with filters of
up to 12 mm, at most 0.76 in raw phase."""

ENOUGH_EVOLUTION = 0.045
"""T s; product of field strength and echo time below which raw phase may be nearly flat too."""

_SLOW_MM = 10.0
_NEAR_ZERO = 0.2
_REACH = 2
_NEIGHBOURS = np.ones((3, 3, 3), bool)


def open_fringes(
    magnitude: FloatArray, phase: FloatArray, *, mask: BoolArray, voxel_size: Sequence[float]
) -> float:
    """Length of the longest line at which fringes end where neither noise nor undersampling can end them.

    A fringe of a magnetic field is closed, or runs out of the object. It seems to end where the phase is
    noise, and where it changes by more than half a cycle between voxels. Coils that were combined without
    regard to their phase (sum of squares with the phase of a plain sum or mean) leave singular lines also
    where the signal is strong and the phase around is smooth. Only those are counted.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z)
        First echo, whose fringes are widest; phase in rad.
    mask : ndarray (x, y, z)
        Where there is signal.
    voxel_size
        mm.

    Returns
    -------
    float
        mm from end to end; 0 where there is none.

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Robinson SD, Bredies K, Khabipova D, et al. NMR Biomed 30:e3601 (2017): open-ended fringe lines.
    """
    if not magnitude.shape == phase.shape == mask.shape or mask.ndim != 3:
        raise ValueError(f"magnitude {magnitude.shape}, phase {phase.shape} and mask {mask.shape} differ")
    strong = mask & (magnitude > STRONG_SIGNAL * smooth_level(magnitude, voxel_size))
    phase = np.ascontiguousarray(phase, dtype=np.float32)
    ends = phase_residues(phase, mask=strong)
    calm = np.zeros(phase.shape, bool)
    _mark_calm(phase, np.ascontiguousarray(strong), ends, CALM_STEP, calm)
    if not calm.any():
        return 0.0
    # a line that noise interrupts for a voxel or two is one line
    lines, _ = ndimage.label(ndimage.binary_dilation(calm, _NEIGHBOURS), _NEIGHBOURS)
    lines[~calm] = 0
    return max((_extent(place, voxel_size) for place in ndimage.find_objects(lines) if place), default=0.0)


def echo_coherence(phase: FloatArray, *, mask: BoolArray) -> NDArray[np.float64]:
    """Mean cosine of the phase difference between neighbours, for each echo.

    Parameters
    ----------
    phase : ndarray (x, y, z, echo)
        rad, wrapped or not.
    mask : ndarray (x, y, z)
        Where there is signal.

    Returns
    -------
    ndarray (echo,)
        1 where phase is smooth, 0 where it is noise; NaN if no two voxels of the mask are neighbours.

    Raises
    ------
    ValueError
        If shapes do not fit together.
    """
    if phase.ndim != 4 or phase.shape[:3] != mask.shape:
        raise ValueError(f"phase {phase.shape} and mask {mask.shape} do not fit together")
    planes = np.zeros((phase.shape[0], phase.shape[3] + 1))
    _add_cosines(len(planes), phase, mask, planes)
    sums = planes.sum(axis=0)
    return np.asarray(sums[:-1] / sums[-1] if sums[-1] else np.full(phase.shape[3], np.nan))


def repeated_echoes(phase: FloatArray) -> tuple[tuple[int, int], ...]:
    """Pairs of echoes, counted from 1, whose phase is the same in every voxel.

    Parameters
    ----------
    phase : ndarray (x, y, z, echo)
        Phase in any unit.
    """
    count = phase.shape[3]
    pairs = ((first, second) for first in range(count) for second in range(first + 1, count))
    return tuple(
        (first + 1, second + 1)
        for first, second in pairs
        if np.array_equal(phase[..., first], phase[..., second])
    )


def fringe_warning(length_mm: float) -> tuple[str, ...]:
    """Say what open fringes mean, if there are any."""
    if length_mm < OPEN_FRINGES_MM:
        return ()
    return (
        f"The phase has open-ended fringes (a singular line of {length_mm:.0f} mm where signal is strong). "
        "Such phase comes from coils that were combined without regard to their phase, as beside a "
        "sum-of-squares magnitude; no unwrapping can repair it, and the map is wrong around these lines. "
        "Export the phase with a combination that respects it (adaptive combine, or the vendor's "
        "susceptibility-weighted protocol), or combine the single coils' images.",
    )


def echo_warnings(coherence: Sequence[float], repeated: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Say which echoes hold noise only, or another echo's phase."""
    dead = [f"{number}" for number, value in enumerate(coherence, 1) if value < DEAD_COHERENCE]
    noise = (
        f"Echo {', '.join(dead)} holds noise instead of phase. Neighbouring voxels do not agree (coherence "
        f"{min(coherence, default=0):.2f}, tissue gives 0.5 to 1). Remove it from the input, or export it "
        "again.",
    )
    same = tuple(
        f"Echo {second} has the phase of echo {first}, voxel for voxel. One was copied over the other: "
        "export or convert both again."
        for first, second in repeated
    )
    return (noise if dead else ()) + same


def slow_alignment(phase: FloatArray, *, mask: BoolArray, voxel_size: Sequence[float]) -> tuple[float, float]:
    """How much the slow phase of an image points one way, and which.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        rad.
    mask : ndarray (x, y, z)
        The object.
    voxel_size
        mm.

    Returns
    -------
    alignment : float
        1 where the phase of the smoothed image is the same everywhere, 0 where it is anything.
    direction : float
        That phase in rad.
    """
    # a grid of a few mm holds all that is slow
    steps = [max(1, int(_SLOW_MM / 4 / size)) for size in voxel_size]
    coarse = tuple(slice(None, None, step) for step in steps)
    phase, mask = phase[coarse], mask[coarse]
    sigma = [_SLOW_MM / (step * size) for step, size in zip(steps, voxel_size, strict=True)]
    real, imaginary = (
        ndimage.gaussian_filter(np.where(mask, part(phase), np.float32(0)), sigma)
        for part in (np.cos, np.sin)
    )
    slow = (real + 1j * imaginary)[mask]
    total = slow.sum()
    return float(abs(total) / max(abs(slow).sum(), 1e-30)), float(np.angle(total))


def filter_warning(
    phase: FloatArray, *, mask: BoolArray, voxel_size: Sequence[float], evolution: float
) -> tuple[str, ...]:
    """Say that phase was high-pass filtered, as for susceptibility-weighted images.

    Parameters
    ----------
    phase, mask, voxel_size
        As of :func:`slow_alignment`, of the last echo.
    evolution
        Its echo time times the field strength in T s.
    """
    if evolution < ENOUGH_EVOLUTION or not mask.any():
        return ()
    alignment, direction = slow_alignment(phase, mask=mask, voxel_size=voxel_size)
    if alignment < FILTERED or abs(direction) > _NEAR_ZERO:
        return ()
    return (
        "The phase looks high-pass filtered, as for susceptibility-weighted images: it varies little over "
        "centimetres. The susceptibility of larger structures is lost and cannot be restored: do not use "
        "values of the map. Export unfiltered phase.",
    )


def _extent(place: tuple[slice, ...], voxel_size: Sequence[float]) -> float:
    edges = [(side.stop - side.start) * size for side, size in zip(place, voxel_size, strict=True)]
    return float(np.linalg.norm(edges))


@njit(cache=True, nogil=True, inline="always")
def _step(a: float, b: float) -> float:
    difference = b - a
    return float(abs(difference - 2 * np.pi * np.rint(difference / (2 * np.pi))))


@threaded()
def _add_cosines(first: int, last: int, phase: FloatArray, mask: BoolArray, out: NDArray[np.float64]) -> None:
    """Sum of cosines for each echo, and the number of edges, for each plane of the first axis."""
    nx, ny, nz, echoes = phase.shape
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                if not mask[x, y, z]:
                    continue
                for axis in range(3):
                    i, j, k = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                    if i < nx and j < ny and k < nz and mask[i, j, k]:
                        out[x, echoes] += 1
                        for echo in range(echoes):
                            out[x, echo] += np.cos(phase[i, j, k, echo] - phase[x, y, z, echo])


@njit(cache=True, nogil=True)
def _mark_calm(phase: FloatArray, mask: BoolArray, ends: BoolArray, limit: float, out: BoolArray) -> None:
    # ends of fringes whose surroundings are smooth and lie in the mask but for a tenth
    nx, ny, nz = phase.shape
    for x in range(_REACH, nx - _REACH):
        for y in range(_REACH, ny - _REACH):
            for z in range(_REACH, nz - _REACH):
                if not ends[x, y, z]:
                    continue
                total, edges, inside = 0.0, 0, 0
                for i in range(x - _REACH, x + _REACH + 1):
                    for j in range(y - _REACH, y + _REACH + 1):
                        for k in range(z - _REACH, z + _REACH + 1):
                            if not mask[i, j, k]:
                                continue
                            inside += 1
                            for axis in range(3):
                                a, b, c = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                                if a < nx and b < ny and c < nz and mask[a, b, c]:
                                    total += _step(phase[i, j, k], phase[a, b, c])
                                    edges += 1
                if 10 * inside >= 9 * (2 * _REACH + 1) ** 3 and total < limit * edges:
                    out[x, y, z] = True
