"""From the integers that a scanner stores for phase to radians, as the header says."""

from __future__ import annotations

import numpy as np

from qsmxt_app.convert.dicom.vendors import PhaseScaling, StoredPhase, vendor_of

TOLERANCE = 0.005
"""Share by which a declared range may differ from 2 pi."""


def phase_scaling(stored: StoredPhase) -> PhaseScaling:
    """Tell how stored phase becomes radians that grow with the field.

    Parameters
    ----------
    stored
        How the image is stored.

    Returns
    -------
    PhaseScaling
        That of any header whose whole range is 2 pi in radians or milliradians, else the vendor's own. Where
        neither says so, the scaling stays, with arbitrary units. The sign is changed for vendors whose phase
        falls where the field is higher.
    """
    vendor = vendor_of(stored.manufacturer)
    scaling = _declared(stored) or vendor.phase_scaling(stored)
    if scaling is None:
        scaling = PhaseScaling(stored.slope, stored.intercept, "arbitrary", "as stored")
    if vendor.phase_sign > 0:
        return scaling
    rule = f"{scaling.rule}; {vendor.sign_rule}"
    return PhaseScaling(-scaling.slope, -scaling.intercept, scaling.units, rule)


def _declared(stored: StoredPhase) -> PhaseScaling | None:
    """Read the unit from the values that the lowest and highest number of this many bits stand for."""
    if not stored.integers:
        return None
    least, most = (0, 2**stored.bits - 1)
    if stored.signed:
        least, most = -(2 ** (stored.bits - 1)), 2 ** (stored.bits - 1) - 1
    low, high = (stored.slope * v + stored.intercept for v in (least, most))
    for unit, name in ((1.0, "radians"), (1e-3, "milliradians")):
        cycle = 2 * np.pi / unit
        if abs(high - low - cycle) < TOLERANCE * cycle and abs(low + high) < TOLERANCE * cycle:
            return PhaseScaling(
                stored.slope * unit, stored.intercept * unit, "rad", f"header's range in {name}"
            )
    return None
