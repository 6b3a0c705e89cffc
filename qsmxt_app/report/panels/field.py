"""Phase and field: what was measured, and how reliable it is."""

from __future__ import annotations

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType, View, make_view
from qsmxt_app.report.pictures import FIELD_NOISE, OFFSET, TRUST, Window, field_window
from qsmxt_app.report.volumes import Volumes


def phase_panel(volumes: Volumes, coarse: Volumes) -> Panel | None:
    """How far the phase can be trusted, and what was taken off it: the offsets of the receive coils."""
    views = _views(
        volumes,
        ("field_trust", "Trust", TRUST, "1 where the echoes agree, 0 where they contradict each other."),
    )
    views += _views(
        coarse,
        (
            "offset",
            "Offset removed",
            OFFSET,
            "The phase at an echo time of zero: the coils', not the tissue's. It should be smooth, without "
            "the outlines of anatomy.",
        ),
    )
    if not views:
        return None
    words = (
        "Trust is lost where signal is: beside air, in strong veins, where the echoes come too late. Fringes "
        "that end in the middle of tissue mean that the coils were combined without their phase."
    )
    return Panel("phase", "Phase", words, views)


def field_panel(volumes: Volumes, record: ScanRecord) -> Panel | None:
    """Total field, local field, and the error of the fit."""
    strength = record.inputs.field_strength
    total = field_window(hz_per_ppm(strength) if strength and strength > 0 else None)
    local = Window(total.low / 10, total.high / 10, "Hz", "RdBu_r")
    views = _views(
        volumes,
        ("total_field", "Total field", total, "All that the phase says: air, shim and tissue together."),
        ("local_field", "Local field", local, "What is left after sources outside the mask were removed."),
        ("field_noise", "Field error", FIELD_NOISE, "Standard error of the field; dark is precise."),
    )
    if not views:
        return None
    words = "The field should vary smoothly, without sudden steps. Its error grows where signal is lost."
    return Panel("field", "Field", words, views)


def _views(volumes: Volumes, *maps: tuple[str, str, Window, str]) -> tuple[View, ...]:
    """Paint those maps that there are: key, name, window, caption."""
    return tuple(
        make_view(name, volumes.slices[key], volumes.grid, window, caption=caption)
        for key, name, window, caption in maps
        if key in volumes.slices and volumes.grid is not None
    )


PHASE = PanelType("phase quality", lambda page: phase_panel(page.maps, page.coarse))
FIELD = PanelType("field map", lambda page: field_panel(page.maps, page.record))
