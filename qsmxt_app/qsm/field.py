"""Total field with its standard error, from the phase of one or more echoes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.echo_fit import smallest_spacing
from qsmxt_app.qsm.noise import noise_from_texture
from qsmxt_app.qsm.offsets import (
    SMALLEST_NOISE,
    SMALLEST_SPREAD,
    SmoothOffset,
    check_echoes,
    estimate_offset,
    readout_difference,
    signal_support,
    without_offset,
)
from qsmxt_app.qsm.partial_volume import centroid_error
from qsmxt_app.qsm.phase import wrap_phase
from qsmxt_app.qsm.posterior_fit import fit_with_offset
from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS
from qsmxt_app.qsm.unwrapping.residues import phase_residues

_KNOWN_FRACTION = 0.1


UNCERTAIN = 0.3
"""Share of a random field's standard error above which a voxel can cause residues around it by noise."""

_VARYING_SHARE = 0.25
"""Share of the field's standard error that varies between scans beside thermal noise. Most of it, where
dephasing and air make it large, is the same in every scan; with this share, the spread of maps at the rim of
simulated heads agreed."""


@dataclass(frozen=True)
class FieldFit:
    """Total field and its standard error.

    Attributes
    ----------
    total_field : ndarray (x, y, z)
        Hz, unwrapped in space inside the mask, 0 outside.
    wrapped_field : ndarray (x, y, z)
        Hz, in [-period/2, period/2), fitted wherever there is signal.
    period : float
        Hz; 1/dTE of the closest echoes (1/TE of a single echo). The field is known modulo this.
    field_noise : ndarray (x, y, z)
        Standard error in Hz, of thermal noise and of signal that is not centred in its voxel
        (:func:`~qsmxt_app.qsm.partial_volume.centroid_error`); at most period/sqrt(12), that of a uniformly
        random field, which voxels without signal and those at the ends of open fringes have.
    random_noise : ndarray (x, y, z)
        Standard deviation of the field over repeated scans in Hz; at most `field_noise`, whose other
        part is the same in every scan; 0 where the field is not known.
    offset : ndarray (x, y, z)
        Phase at TE = 0 in rad; 0 for a single echo.
    readout_difference : ndarray (x, y, z) or None
        Phase between readout polarities in rad, bipolar data of three echoes or more.
    residual : ndarray (x, y, z)
        Weighted root mean square over echoes of phase less model, in rad.
    trust : ndarray (x, y, z)
        0 (random) to 1 (certain): coherence exp(-s^2/2) of a phase of s = 2 pi mean(TE) field_noise.
    noise_level : float
        SD of the noise in either channel, in units of the magnitude.
    """

    total_field: FloatArray
    wrapped_field: FloatArray
    period: float
    field_noise: FloatArray
    random_noise: FloatArray
    offset: FloatArray
    readout_difference: FloatArray | None
    residual: FloatArray
    trust: FloatArray
    noise_level: float

    @property
    def known(self) -> BoolArray:
        """Voxels whose field is better known than to a tenth of the period.

        Beyond that (0.6 rad between the closest echoes) a voxel may be a cycle off: its Laplacian is noise.
        """
        return np.asarray(self.field_noise < _KNOWN_FRACTION * self.period)


def fit_total_field(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: Sequence[float] | NDArray,
    *,
    mask: BoolArray,
    voxel_size: Sequence[float],
    bipolar: bool = False,
    unwrapping: str = "romeo",
) -> FieldFit:
    """Fit the total field to complex gradient echoes.

    The fit maximises the likelihood of the complex signal over frequency and offset in every voxel with
    signal, masked or not, weighted by the squared magnitude of the echoes (so R2* decides what a late echo
    counts). The smooth part of the offset is then estimated with its spread, and becomes the prior of a
    second fit: where the offset is smooth the field gains the precision of a line through the origin, and
    where it is not, nothing is forced.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Magnitude, and phase in rad; one echo or more.
    echo_times : (echo,)
        s, ascending.
    mask : ndarray (x, y, z)
        Where the field is unwrapped.
    voxel_size
        mm.
    bipolar
        Whether echoes alternate between readout polarities.
    unwrapping
        Name in `UNWRAPPING_METHODS`. Several echoes are fitted from a frequency that ROMEO has unwrapped.

    Returns
    -------
    FieldFit
        A single echo gives phase/(2 pi TE).

    Raises
    ------
    ValueError
        If shapes, echo times or values do not fit together, or the mask is empty.

    References
    ----------
    Liu T, Wisnieff C, et al. Magn Reson Med 69:467-476 (2013): nonlinear complex fit.
    Eckstein K, Dymerska B, et al. Magn Reson Med 79:2996-3006 (2018): offset.
    Li J, Chang S, Liu T, et al. Magn Reson Med 74:1372-1379 (2015): bipolar readout.
    """
    if unwrapping not in UNWRAPPING_METHODS:
        raise ValueError(f"unwrapping must be one of {', '.join(UNWRAPPING_METHODS)}, not {unwrapping!r}")
    times = check_echoes(magnitude, phase, echo_times, mask)
    magnitude = np.ascontiguousarray(magnitude, dtype=np.float32)
    difference = None
    if bipolar and times.size >= 3:
        difference = readout_difference(magnitude, phase, times, mask=mask)
        phase = without_offset(phase, np.float32(0), difference)
    phase = np.ascontiguousarray(phase, dtype=np.float32)
    support = signal_support(magnitude) | mask
    if times.size == 1:
        smooth = _no_offset(magnitude, phase, times[0], mask)
    else:
        smooth = estimate_offset(magnitude, phase, times, support=support, mask=mask, voxel_size=voxel_size)
    fit = fit_with_offset(
        magnitude,
        phase,
        times,
        support=support,
        mask=mask,
        start=smooth.frequency,
        offset=smooth.offset,
        offset_spread=smooth.spread,
        noise_level=smooth.noise_level,
    )
    period = 1 / smallest_spacing(times)
    wrapped = wrap_phase(fit.frequency * np.float32(2 * np.pi / period))
    largest = np.float32(period / np.sqrt(12))
    hz_per_radian = np.float32(period / (2 * np.pi))
    wrapped_field = wrapped * hz_per_radian
    off_centre = centroid_error(wrapped_field, period, magnitude[..., 0])
    error = np.hypot(fit.standard_error, off_centre)
    noise = np.where(support, np.minimum(error, largest), largest)
    # a residue beside a voxel that is uncertain anyway is that voxel's fault, not its neighbours'
    noise[phase_residues(wrapped, mask=noise < UNCERTAIN * largest)] = largest
    if unwrapping == "romeo" and times.size > 1:
        # the fit started from the frequency that ROMEO unwrapped, and is on its cycle
        total_field = _centred(fit.frequency, mask, np.float32(period))
    else:
        unwrap = UNWRAPPING_METHODS[unwrapping]
        unwrapped = unwrap(wrapped, mask, voxel_size=voxel_size, magnitude=np.reciprocal(noise))
        total_field = unwrapped * hz_per_radian
    return FieldFit(
        total_field=total_field,
        wrapped_field=wrapped_field,
        period=period,
        field_noise=noise,
        random_noise=np.where(
            noise < _KNOWN_FRACTION * period,
            _random_noise(noise, magnitude, times, smooth.noise_level),
            np.float32(0),
        ),
        offset=smooth.offset,
        readout_difference=difference,
        residual=fit.residual,
        trust=np.exp(-0.5 * (2 * np.pi * np.float32(times.mean()) * noise) ** 2),
        noise_level=smooth.noise_level,
    )


def _random_noise(error: FloatArray, magnitude: FloatArray, times: NDArray, level: float) -> FloatArray:
    """Standard deviation over scans of a field with some standard error: thermal noise, and a share of it."""
    weight = np.sqrt(np.einsum("...e,...e,e->...", magnitude, magnitude, times.astype(np.float32) ** 2))
    thermal = np.float32(level / (2 * np.pi)) / np.maximum(weight, np.finfo(np.float32).tiny)
    return np.asarray(np.minimum(np.hypot(thermal, np.float32(_VARYING_SHARE) * error), error))


def _centred(frequency: FloatArray, mask: BoolArray, period: np.float32) -> FloatArray:
    """Frequency inside the mask, by whole cycles so that the median is nearest to zero."""
    cycles = np.rint(np.median(frequency[mask]) / period)
    return np.where(mask, frequency - period * cycles, np.float32(0))


def _no_offset(magnitude: FloatArray, phase: FloatArray, time: float, mask: BoolArray) -> SmoothOffset:
    """Offset of a single echo: it cannot be told from the field, and most of it is harmonic."""
    level = max(noise_from_texture(magnitude, phase, mask), SMALLEST_NOISE * float(magnitude.max()))
    frequency = phase[..., 0] / np.float32(2 * np.pi * time)
    return SmoothOffset(np.zeros(mask.shape, np.float32), SMALLEST_SPREAD, frequency, level)
