"""From the integers that a scanner stores for phase to radians, as the header says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TURN = 2 * np.pi
TOLERANCE = 0.005
"""Share by which a declared range may differ from one turn."""
_SIEMENS_LEVELS = 4096
_SIEMENS_RESCALING = (2.0, -4096.0)
_GE_LARGEST = 3145
"""GE stores milliradians: pi is 3142, and rounding and interpolation go a little beyond."""


@dataclass(frozen=True)
class PhaseScaling:
    """Phase = slope * stored + intercept.

    Attributes
    ----------
    units
        ``rad``, or ``arbitrary`` where neither vendor nor header says how many levels are one turn.
    rule
        In words, for the sidecar.
    """

    slope: float
    intercept: float
    units: str
    rule: str


@dataclass(frozen=True)
class StoredPhase:
    """How a phase image is stored.

    Attributes
    ----------
    manufacturer
        As in the header.
    bits, signed
        Bits stored, and whether they are signed.
    slope, intercept
        Rescaling that the converter put into the image's header.
    lowest, highest
        Extremes of the stored values.
    integers
        Whether they are integers.
    """

    manufacturer: str
    bits: int
    signed: bool
    slope: float
    intercept: float
    lowest: float
    highest: float
    integers: bool = True


def phase_scaling(stored: StoredPhase) -> PhaseScaling:
    """Tell how stored phase becomes radians.

    GE's phase falls where the field is higher: its sign is changed, so that phase grows with the field for
    all vendors.

    Parameters
    ----------
    stored
        How the image is stored.

    Returns
    -------
    PhaseScaling
        For Siemens, whose 4096 levels are one turn with zero in the middle; for GE's milliradians; and for
        any header whose whole range is one turn in radians or milliradians (Philips). Anything else keeps
        its scaling, with arbitrary units.
    """
    vendor = stored.manufacturer.upper().strip()
    scaling = _declared(stored) or _of_vendor(vendor, stored)
    if scaling is None:
        scaling = PhaseScaling(stored.slope, stored.intercept, "arbitrary", "as stored")
    if not vendor.startswith("GE"):
        return scaling
    rule = f"{scaling.rule}; sign changed, as GE's phase falls where the field is higher"
    return PhaseScaling(-scaling.slope, -scaling.intercept, scaling.units, rule)


def _of_vendor(vendor: str, stored: StoredPhase) -> PhaseScaling | None:
    levels = stored.integers and stored.lowest >= 0 and stored.highest < _SIEMENS_LEVELS
    if levels and (vendor.startswith("SIEMENS") or (stored.slope, stored.intercept) == _SIEMENS_RESCALING):
        return PhaseScaling(TURN / _SIEMENS_LEVELS, -np.pi, "rad", "Siemens' 4096 levels are one turn")
    largest = max(abs(stored.slope * v + stored.intercept) for v in (stored.lowest, stored.highest))
    if vendor.startswith("GE") and stored.integers and np.pi < largest <= _GE_LARGEST:
        return PhaseScaling(stored.slope / 1000, stored.intercept / 1000, "rad", "GE's milliradians")
    return None


def _declared(stored: StoredPhase) -> PhaseScaling | None:
    """Read the unit from the values that the lowest and highest number of this many bits stand for."""
    if not stored.integers:
        return None
    least, most = (0, 2**stored.bits - 1)
    if stored.signed:
        least, most = -(2 ** (stored.bits - 1)), 2 ** (stored.bits - 1) - 1
    low, high = (stored.slope * v + stored.intercept for v in (least, most))
    for unit, name in ((1.0, "radians"), (1e-3, "milliradians")):
        turn = TURN / unit
        if abs(high - low - turn) < TOLERANCE * turn and abs(low + high) < TOLERANCE * turn:
            return PhaseScaling(
                stored.slope * unit, stored.intercept * unit, "rad", f"header's range in {name}"
            )
    return None
