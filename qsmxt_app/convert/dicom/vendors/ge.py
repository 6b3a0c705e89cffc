"""GE: the component is a number in (0043,102F), and phase has the opposite sign.

Phase, in milliradians, and the angle of real and imaginary parts fall where the field is higher. The sign of
the signal may alternate from slice to slice (a shift of half the field of view along the slices that the
reconstruction leaves in): that is found in the data, of any vendor. A field map (B0MAP) is one series of
magnitudes and map, which no element tells apart: the map comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.values import integer
from qsmxt_app.convert.dicom.vendors.vendor import PhaseScaling, StoredPhase, Vendor, levels_of_phase

SEQUENCE, INTERNAL_SEQUENCE, LOCATIONS, RAW_DATA_TYPE = 0x0019109C, 0x0019109E, 0x0021104F, 0x0043102F
LARGEST = 3145
"""Largest phase in milliradians: pi is 3142, and rounding and interpolation go a little beyond."""
_COMPONENTS: dict[int, Component] = {0: "magnitude", 1: "phase", 2: "real", 3: "imaginary"}
_FIELD_MAPS = ("B0MAP", "B0RF")


def _component(header: Dataset) -> Component | None:
    number = integer(header, RAW_DATA_TYPE)
    return None if number is None else _COMPONENTS.get(number)


def _field_map_instances(sequence: str, instances: Sequence[int]) -> frozenset[int]:
    if not any(name in sequence.upper() for name in _FIELD_MAPS) or len(set(instances)) % 2:
        return frozenset()
    return frozenset(instances[: len(instances) // 2])


def _phase_scaling(stored: StoredPhase) -> PhaseScaling | None:
    largest = max(abs(stored.slope * v + stored.intercept) for v in (stored.lowest, stored.highest))
    if stored.integers and np.pi < largest <= LARGEST:
        return PhaseScaling(stored.slope / 1000, stored.intercept / 1000, "rad", "GE's milliradians")
    return levels_of_phase(stored)


VENDOR = Vendor(
    name="GE",
    manufacturers=("GE",),
    elements=(SEQUENCE, INTERNAL_SEQUENCE, LOCATIONS, RAW_DATA_TYPE),
    sequence_names=(INTERNAL_SEQUENCE, SEQUENCE),
    slices_per_volume=lambda header, mosaic: integer(header, LOCATIONS),
    component=_component,
    field_map_instances=_field_map_instances,
    phase_scaling=_phase_scaling,
    phase_sign=-1,
    sign_rule="sign changed, as GE's phase falls where the field is higher",
)
