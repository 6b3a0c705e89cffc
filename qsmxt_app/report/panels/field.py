"""Total field, local field, and the error of the fit."""

from __future__ import annotations

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType, views_of
from qsmxt_app.report.pictures import FIELD_NOISE, Window, field_window
from qsmxt_app.report.volumes import Volumes


def field_panel(volumes: Volumes, record: ScanRecord) -> Panel | None:
    """Total field, local field, and the error of the fit."""
    strength = record.inputs.field_strength
    total = field_window(hz_per_ppm(strength) if strength and strength > 0 else None)
    local = Window(total.low / 10, total.high / 10, "Hz", "RdBu_r")
    views = views_of(
        volumes,
        ("total_field", "Total field", total, "Before background removal: air, shim and tissue together."),
        ("local_field", "Local field", local, "After removal of the field of sources outside the mask."),
        ("field_noise", "Field error", FIELD_NOISE, "Standard error of the field; dark is precise."),
    )
    if not views:
        return None
    words = (
        "The field should vary smoothly, without sudden steps. Its error is larger where the signal is low."
    )
    return Panel("field", "Field", words, views)


PANELS = (PanelType("field map", lambda page: field_panel(page.maps, page.record)),)
