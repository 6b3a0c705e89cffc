"""The registry of vendors: a file and a line for each."""

from __future__ import annotations

from importlib import import_module

from qsmxt_app.convert.dicom.vendors.vendor import PhaseScaling, StoredPhase, Vendor

__all__ = [
    "GENERIC",
    "VENDORS",
    "PhaseScaling",
    "StoredPhase",
    "Vendor",
    "is_field_map_sequence",
    "vendor_of",
]

VENDORS: list[Vendor] = [
    import_module(module).VENDOR
    for module in (
        "qsmxt_app.convert.dicom.vendors.siemens",
        "qsmxt_app.convert.dicom.vendors.philips",
        "qsmxt_app.convert.dicom.vendors.ge",
        "qsmxt_app.convert.dicom.vendors.uih",
        "qsmxt_app.convert.dicom.vendors.canon",
    )
]
GENERIC = Vendor("a manufacturer that is not known", ())
"""Follows the standard."""


def vendor_of(manufacturer: str) -> Vendor:
    """Return the vendor whom element (0008,0070) names."""
    name = manufacturer.upper().strip()
    return next((vendor for vendor in VENDORS if name.startswith(vendor.manufacturers)), GENERIC)


def is_field_map_sequence(manufacturer: str, sequence: str) -> bool:
    """Whether the phase of a sequence is that of a field map; an unknown manufacturer may be any."""
    vendor = vendor_of(manufacturer)
    patterns = [one.field_map_sequence for one in (VENDORS if vendor is GENERIC else [vendor])]
    return any(pattern is not None and pattern.search(sequence) for pattern in patterns)
