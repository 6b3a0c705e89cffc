"""Phase of echoes that no field explains: readout polarity, and constants and slopes of single echoes.

A field adds phase in proportion to the echo time, so that over evenly spaced echoes second differences
vanish. What scanners and exports add to single echoes is smooth in space, to begin with constant or linear:
a plane is fitted to each second difference, modulo 2 pi.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.offsets import fit_phase_plane
from qsmxt_app.qsm.phase import wrap_phase

NOTICEABLE = 0.2
"""rad; root mean square of a second difference's plane over the object from which it is corrected. In scans
whose echoes agree it stays below 0.1."""

_UNEVEN = 0.02
_SAME_SHARE = 0.25
_LARGEST_MISFIT = 0.6
_ENOUGH_VOXELS = 200_000


@dataclass(frozen=True)
class EchoPlanes:
    """What single echoes have beside the phase of the field.

    Attributes
    ----------
    slopes, constants : ndarray (echo, 3), ndarray (echo,)
        Plane in rad a voxel, and rad at voxel (0, 0, 0), of each echo. Those of the first two are zero: what
        is constant over echoes, or grows with the echo time, is offset or field.
    sizes : ndarray (echo - 2,)
        Root mean square over the object of each second difference's plane in rad.
    bipolar : bool
        Whether second differences are equal but for their sign, which alternates: the echoes are read in
        alternating directions.
    """

    slopes: NDArray[np.float64]
    constants: NDArray[np.float64]
    sizes: NDArray[np.float64]
    bipolar: bool

    @property
    def noticeable(self) -> bool:
        """Whether they are to be corrected."""
        return bool(self.sizes.max() > NOTICEABLE)


def echo_planes(
    magnitude: FloatArray, phase: FloatArray, echo_times: Sequence[float] | NDArray, *, mask: BoolArray
) -> EchoPlanes | None:
    """Fit planes to what single echoes have beside the phase of the field.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Any unit, and rad.
    echo_times : (echo,)
        s, ascending.
    mask : ndarray (x, y, z)
        The object.

    Returns
    -------
    EchoPlanes or None
        None with fewer than three echoes, with echoes that are not evenly spaced, and where a plane does not
        describe the second differences.
    """
    times = np.asarray(echo_times, dtype=np.float64)
    spacing = np.diff(times)
    if times.size < 3 or np.ptp(spacing) > _UNEVEN * spacing.min():
        return None
    # planes need no more than a coarse grid of voxels
    step = max(1, int((np.count_nonzero(mask) / _ENOUGH_VOXELS) ** (1 / 3)))
    coarse = (slice(None, None, step),) * 3
    magnitude, phase, mask = magnitude[coarse], phase[coarse], mask[coarse]
    where = np.nonzero(mask)
    chosen = tuple(axis[:: max(1, axis.size // 100_000)] for axis in where)
    centre = np.array([axis.mean() for axis in chosen])
    spread = np.array([axis.std() for axis in chosen])
    planes, sizes = [], []
    for echo in range(1, times.size - 1):
        phasor = _second_difference(magnitude, phase, echo, mask)
        slope, constant = fit_phase_plane(phasor)
        fitted = constant + sum(s * axis for s, axis in zip(slope, chosen, strict=True))
        misfit = np.median(abs(wrap_phase(np.angle(phasor[chosen]) - fitted)))
        if misfit > _LARGEST_MISFIT:
            return None
        at_centre = float(wrap_phase(constant + slope @ centre))
        planes.append((slope / step, constant, at_centre))
        sizes.append(float(np.sqrt(at_centre**2 + np.sum((slope * spread) ** 2))))
    slopes, constants = _summed([p[0] for p in planes]), _summed([np.array(p[1]) for p in planes])
    centred = np.array([[*(p[0] * step * spread), p[2]] for p in planes])
    return EchoPlanes(slopes, constants, np.array(sizes), _alternate(centred))


def without_planes(phase: FloatArray, planes: EchoPlanes) -> FloatArray:
    """Phase in rad without the planes of single echoes."""
    grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in phase.shape[:3]), indexing="ij", sparse=True)
    out = phase.copy()
    for echo, (slope, constant) in enumerate(zip(planes.slopes, planes.constants, strict=True)):
        if slope.any() or constant:
            plane = sum((np.float32(s) * g for s, g in zip(slope, grid, strict=True)), np.float32(constant))
            out[..., echo] = wrap_phase(phase[..., echo] - plane)
    return out


def consistent_echoes(
    magnitude: FloatArray, phase: FloatArray, echo_times: Sequence[float] | NDArray, *, mask: BoolArray
) -> tuple[FloatArray, bool, tuple[str, ...]]:
    """Phase without what single echoes have beside that of the field.

    Parameters
    ----------
    magnitude, phase, echo_times, mask
        As of :func:`echo_planes`.

    Returns
    -------
    phase : ndarray (x, y, z, echo)
        rad; the same array where nothing is to be corrected, or where the readout is bipolar, which the fit
        of the field corrects.
    bipolar : bool
        Whether the readout is.
    warnings
        What was found.
    """
    planes = echo_planes(magnitude, phase, echo_times, mask=mask)
    if planes is None or not planes.noticeable:
        return phase, False, ()
    if not planes.bipolar:
        phase = without_planes(phase, planes)
    return phase, planes.bipolar, plane_warnings(planes)


def plane_warnings(planes: EchoPlanes) -> tuple[str, ...]:
    """Say what was corrected, and what to check."""
    size = planes.sizes.max()
    if planes.bipolar:
        return (
            f"The phase says that the readout is bipolar: odd and even echoes differ by {size / 2:.1f} rad, "
            "which was corrected. If the sidecars are silent, add ReadoutPolarity; if they are right, "
            "use --bipolar no.",
        )
    return (
        f"Single echoes have phase that no field explains (up to {size:.1f} rad from echo to echo, constant "
        "or linear in space). It was estimated and removed. Check how the phase was exported, and whether "
        "echo times are right.",
    )


def _second_difference(
    magnitude: FloatArray, phase: FloatArray, echo: int, mask: BoolArray
) -> NDArray[np.complex64]:
    """Phasor of the second difference over the echoes around one; its size is the weight."""
    weight = np.zeros(mask.shape, np.float32)
    sizes = [np.square(magnitude[..., e][mask], dtype=np.float32) for e in (echo - 1, echo, echo + 1)]
    smallest = np.maximum(np.minimum.reduce(sizes), np.finfo(np.float32).tiny)
    weight[mask] = smallest / sum(smallest / np.maximum(s, smallest) for s in sizes)
    angle = phase[..., echo - 1] - 2 * phase[..., echo] + phase[..., echo + 1]
    return np.asarray(weight * np.exp(1j * angle), dtype=np.complex64)


def _summed(second_differences: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Values of all echoes with given second differences, the first two zero."""
    values = [np.zeros_like(second_differences[0])] * 2
    for difference in second_differences:
        values = [*values, difference + 2 * values[-1] - values[-2]]
    return np.array(values)


def _alternate(planes: NDArray[np.float64]) -> bool:
    """Whether planes are one plane with alternating sign, but for a share of its size."""
    signs = np.where(np.arange(len(planes)) % 2 == 0, 1.0, -1.0)[:, None]
    mean = (signs * planes)[:, :3].mean(axis=0)
    constants = np.exp(1j * signs[:, 0] * planes[:, 3])
    mean_constant = np.angle(constants.mean())
    off = np.column_stack([(signs * planes)[:, :3] - mean, np.angle(constants * np.exp(-1j * mean_constant))])
    size = np.sqrt(mean @ mean + mean_constant**2)
    return bool(np.sqrt((off**2).sum(axis=1)).max() < _SAME_SHARE * size)
