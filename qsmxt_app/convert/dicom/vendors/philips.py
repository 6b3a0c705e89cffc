"""Philips: classic and enhanced.

(2005,1011) says what the numbers are, in the header and in the private description of a frame, (2005,140F).
Phase is in milliradians by its rescaling, and needs no rule. Magnitudes are made comparable by a slope that a
field map must not be multiplied with: its values in Hz come from the rescaling alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.values import integer, text, words
from qsmxt_app.convert.dicom.vendors.vendor import Vendor

SLICES, TECHNIQUE, COMPONENT, FRAME = 0x20011018, 0x20011020, 0x20051011, 0x2005140F
_COMPONENTS: dict[str, Component] = {
    "M": "magnitude",
    "P": "phase",
    "R": "real",
    "I": "imaginary",
    "B0": "b0map",
}


def _component(header: Dataset) -> Component | None:
    return _COMPONENTS.get(text(header, COMPONENT).upper())


def _field_map_rescaling(sidecar: Mapping[str, Any]) -> tuple[float, float] | None:
    slope, intercept = (sidecar.get(f"PhilipsRescale{name}") for name in ("Slope", "Intercept"))
    if isinstance(slope, int | float) and isinstance(intercept, int | float):
        return float(slope), float(intercept)
    return None


VENDOR = Vendor(
    name="Philips",
    manufacturers=("PHILIPS",),
    elements=(SLICES, TECHNIQUE, COMPONENT),
    sequence_names=(TECHNIQUE,),
    slices_per_volume=lambda header, mosaic: integer(header, SLICES),
    # in the description of a frame, the image type that a classic file would have
    image_type=lambda header: words(header, "ImageType"),
    component=_component,
    frame=FRAME,
    field_map_rescaling=_field_map_rescaling,
)
