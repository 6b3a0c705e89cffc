"""Stored phase to radians: by unit and stored range, or by the observed range if nothing better is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded

RADIAN_UNITS = frozenset({"rad", "radian", "radians"})
DEGREE_UNITS = frozenset({"deg", "degree", "degrees", "°"})
MILLIRADIAN_UNITS = frozenset({"mrad", "milliradian", "milliradians"})
UNKNOWN_UNITS = frozenset({"", "arbitrary", "a.u.", "au", "arbitrary unit", "arbitrary units", "1", "n/a"})

ROUNDING = 0.01
"""Share of the range by which stored values may exceed it (float headers, interpolation)."""


@dataclass(frozen=True)
class ScaledPhase:
    """Phase in radians and how it was found.

    Attributes
    ----------
    phase : ndarray, shape of the input, float32
        Phase in rad, in [-pi, pi).
    rule : str
        The rule in words, for the sidecar and the report.
    warnings : tuple of str
        What a person should check.
    scale : float
        rad for one stored unit; negative where the sign was inverted.
    """

    phase: FloatArray
    rule: str
    warnings: tuple[str, ...] = ()
    scale: float = 1.0


def wrap_phase(phase: ArrayLike) -> FloatArray:
    """Wrap phase into [-pi, pi).

    Parameters
    ----------
    phase : array_like
        Phase in rad, of any shape.

    Returns
    -------
    ndarray, float32
        The same phase modulo 2 pi.

    Examples
    --------
    >>> wrap_phase([0.0, 3.0, 4.0]).round(3).tolist()
    [0.0, 3.0, -2.2829999923706055]
    """
    return _scaled(np.asarray(phase), 0, 1)


def _scaled(values: NDArray, centre: float, scale: float) -> FloatArray:
    """Wrap `(values - centre) * scale`, in single precision where the values are."""
    if values.flags.f_contiguous and values.ndim > 1:
        return _scaled(values.T, centre, scale).T
    wrapped = np.empty(values.shape, dtype=np.float32)
    kind = np.dtype(np.float32 if values.dtype == np.float32 else np.float64)
    flat = np.ascontiguousarray(values, dtype=kind).reshape(-1)
    _wrap(flat.size, flat, kind.type(centre), kind.type(scale), wrapped.reshape(-1))
    return wrapped


@threaded()
def _wrap(first: int, last: int, phase: NDArray, centre: float, scale: float, wrapped: FloatArray) -> None:
    pi = np.float32(np.pi)
    for i in range(first, last):
        wide = np.float64((phase[i] - centre) * scale)
        value = np.float32(wide - 2 * np.pi * np.floor((wide + np.pi) / (2 * np.pi)))
        # rounding to float32 can land on +pi itself
        wrapped[i] = -pi if value >= pi else value


def scale_phase(
    stored: ArrayLike,
    units: str | None = None,
    stored_range: tuple[float, float] | None = None,
    *,
    invert: bool = False,
) -> ScaledPhase:
    """Turn phase as stored in a file into radians in [-pi, pi).

    What is known decides, in this order: the unit (rad, mrad, degrees); the range that the header or the
    file format declares; a range that scanners are known to store (Siemens 0..4095 and -4096..4095 with
    the -4096..4094 that converters make of it, GE and Philips +-3142 millirad, 16 bit); and only then the
    observed extremes, with a warning. Integer ranges have one level more than their width (0..4095 is a
    period of 4096).

    Parameters
    ----------
    stored : array_like
        Stored values with the header's slope and intercept applied, all echoes together.
    units
        The sidecar's ``Units``; None or ``arbitrary`` where unknown.
    stored_range
        Smallest and largest value that the file can store, in the units of `stored`.
    invert
        Change the sign: for scanners or converters whose phase falls where the field is higher.

    Returns
    -------
    ScaledPhase
        Phase, rule and warnings. Phase declared in radians but spanning more than one cycle is taken as
        unwrapped, and wrapped again: nothing that a fit over echoes needs is lost.

    Raises
    ------
    ValueError
        If values are missing (NaN, infinite), all equal, or in a unit that is not one of phase (Hz, ppm).
    """
    values = np.asarray(stored)
    low, high = _extremes(values)
    unit = (units or "").strip().lower()
    if unit not in RADIAN_UNITS | DEGREE_UNITS | MILLIRADIAN_UNITS | UNKNOWN_UNITS:
        raise ValueError(f"the phase has Units {units!r}, which is not a unit of phase: use rad or arbitrary")
    scale, centre, rule, warnings = _rule(values, low, high, unit, stored_range)
    if invert:
        scale, rule = -scale, f"{rule}; sign inverted"
    return ScaledPhase(_scaled(values, centre, scale), rule, warnings, float(scale))


def repair_alternating_slices(magnitude: FloatArray, phase: FloatArray) -> tuple[FloatArray, bool]:
    """Undo a sign that alternates from slice to slice, as in complex images of GE scanners.

    Such images lack a shift in k-space along the slices, so every second slice has half a cycle too much.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Magnitude, and phase in rad; the slices lie along the third axis.

    Returns
    -------
    phase : ndarray (x, y, z, echo)
        rad, in [-pi, pi): the input itself where no such sign is found.
    repaired : bool
        Whether the signal of neighbouring slices was opposite on the whole.
    """
    first_echo = (np.ascontiguousarray(image[..., 0].T, dtype=np.float32) for image in (magnitude, phase))
    agreement = np.zeros((phase.shape[2] - 1, 2))
    _agreement_of_slices(len(agreement), *first_echo, agreement)
    product, size = agreement.sum(axis=0)
    if not size > 0 or product > -0.5 * size:
        return phase, False
    half_cycles = (np.arange(phase.shape[2]) % 2 * np.pi).astype(np.float32)
    return wrap_phase(phase + half_cycles[:, None]), True


@threaded()
def _agreement_of_slices(
    first: int, last: int, magnitude: FloatArray, phase: FloatArray, out: NDArray[np.float64]
) -> None:
    """Product of the signal of each slice (the first axis) with the next one, and that of the magnitudes."""
    _, rows, columns = phase.shape
    for s in range(first, last):
        product = 0.0
        size = 0.0
        for r in range(rows):
            for c in range(columns):
                both = magnitude[s, r, c] * magnitude[s + 1, r, c]
                product += both * np.cos(phase[s + 1, r, c] - phase[s, r, c])
                size += both
        out[s, 0] = product
        out[s, 1] = size


def _extremes(values: NDArray) -> tuple[float, float]:
    if values.size == 0:
        raise ValueError("the phase is empty")
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            "the phase contains NaN or infinite values: replace or mask them before the conversion"
        )
    if low == high:
        raise ValueError(f"the phase is constant ({low:g} everywhere): the image holds no phase")
    return low, high


Rule = tuple[float, float, str, tuple[str, ...]]


def _rule(
    values: NDArray, low: float, high: float, unit: str, stored_range: tuple[float, float] | None
) -> Rule:
    largest = max(abs(low), abs(high))
    if unit in RADIAN_UNITS:
        contradicted = largest > 1000 and _integers(values)
        if not contradicted:
            return _declared("radians", 1.0, low, high)
        known = _known_family(values, low, high) or _observed(low, high)
        return (
            *known[:3],
            (*known[3], f"Units say rad but the values are integers from {low:g} to {high:g}"),
        )
    if unit in DEGREE_UNITS:
        return _declared("degrees", np.pi / 180, low, high)
    if unit in MILLIRADIAN_UNITS:
        return _declared("milliradians", 1e-3, low, high)
    if stored_range is not None:
        return _stored(low, high, stored_range)
    return _known_family(values, low, high) or _observed(low, high)


def _declared(name: str, scale: float, low: float, high: float) -> Rule:
    warnings: tuple[str, ...] = ()
    if (high - low) * scale > 2 * np.pi * (1 + ROUNDING):
        warnings = (f"phase spans {(high - low) * scale:.1f} rad: taken as unwrapped, and wrapped again",)
    elif (high - low) * scale < 0.1:
        warnings = (f"phase in {name} spans only {(high - low) * scale:.2g} rad: check its Units",)
    return scale, 0.0, f"Units: {name}", warnings


def _stored(low: float, high: float, stored_range: tuple[float, float]) -> Rule:
    lowest, highest = (float(v) for v in stored_range)
    width = highest - lowest
    if not width > 0:
        raise ValueError(f"the stored range of the phase is empty: {lowest:g} to {highest:g}")
    slack = ROUNDING * width
    if low < lowest - slack or high > highest + slack:
        raise ValueError(
            f"phase values from {low:g} to {high:g} lie outside their stored range {lowest:g} to {highest:g}"
        )
    period = _period(width)
    centre = lowest + period / 2
    warnings: tuple[str, ...] = ()
    if (high - low) < 0.5 * width:
        warnings = (f"the phase uses only {low:g} to {high:g} of its stored range {lowest:g} to {highest:g}",)
    return 2 * np.pi / period, centre, f"stored range {lowest:g} to {highest:g} is one cycle", warnings


def _integers(values: NDArray) -> bool:
    # in the order of memory: a copy of all echoes would take longer than all the rest
    sample = values.ravel(order="K")[:: max(1, values.size // 100_000)]
    return bool(np.all(sample == np.rint(sample)))


def _period(width: float) -> float:
    """One cycle of a stored range: a full set of integer levels has one more level than its width."""
    levels = 2.0 ** np.ceil(np.log2(width))
    return levels if levels - width <= max(2.0, 1e-4 * levels) and width > 100 else width


def _known_family(values: NDArray, low: float, high: float) -> Rule | None:
    """Ranges that scanners and converters store, told apart by where the extremes lie."""
    cycle = 2 * np.pi
    if _integers(values):
        # phase noise outside the head fills the whole range, so its ends are seen in all but tight crops
        families = (
            (0, 4095, 4096, 2048, "Siemens 12 bit, 0..4095 is one cycle"),
            (-4096, 4095, 8192, 0, "Siemens 13 bit, -4096..4095 is one cycle"),
            (-2048, 2047, 4096, 0, "12 bit, -2048..2047 is one cycle"),
            (-3142, 3142, 2000 * np.pi, 0, "milliradians, -3142..3142 is one cycle"),
            (0, 65535, 65536, 32768, "16 bit, 0..65535 is one cycle"),
            (-32768, 32767, 65536, 0, "16 bit, -32768..32767 is one cycle"),
            (-180, 180, 360, 0, "degrees, -180..180 is one cycle"),
            (0, 360, 360, 0, "degrees, 0..360 is one cycle"),
        )
        for least, most, period, centre, text in families:
            near = 0.02 * (most - least)
            if least <= low <= least + near and most - near <= high <= most:
                return cycle / period, float(centre), text, ()
        return None
    for lowest, highest, scale, text in (
        (-np.pi, np.pi, 1.0, "radians, -pi..pi"),
        (0.0, cycle, 1.0, "radians, 0..2 pi"),
        (-1000 * np.pi, 1000 * np.pi, 1e-3, "milliradians, -3142..3142 is one cycle"),
        (-180.0, 180.0, np.pi / 180, "degrees, -180..180 is one cycle"),
    ):
        near = ROUNDING * (highest - lowest)
        if abs(low - lowest) <= near and abs(high - highest) <= near:
            return scale, 0.0, text, ()
    return None


def _observed(low: float, high: float) -> Rule:
    """Nothing is known but the values: their extremes are one cycle."""
    largest = max(abs(low), abs(high))
    warning = f"the unit of the phase is unknown: {low:g} to {high:g} was taken as one cycle"
    if abs(low + high) <= 0.05 * (high - low):
        return np.pi / largest, 0.0, f"observed range +-{largest:g} is one cycle", (warning,)
    return (
        2 * np.pi / (high - low),
        (low + high) / 2,
        f"observed range {low:g} to {high:g} is one cycle",
        (warning,),
    )
