"""How reliable the phase is, and which offset was removed from it."""

from __future__ import annotations

from qsmxt_app.report.panel import Panel, PanelType, views_of
from qsmxt_app.report.pictures import OFFSET, TRUST
from qsmxt_app.report.volumes import Volumes


def phase_panel(volumes: Volumes, coarse: Volumes) -> Panel | None:
    """How reliable the phase is, and which offset of the receive coils was removed from it."""
    views = views_of(
        volumes,
        (
            "field_trust",
            "Reliability",
            TRUST,
            "1 where the echoes agree, 0 where they contradict each other.",
        ),
    )
    views += views_of(
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
        "Phase is unreliable where the signal is low: beside air, in strong veins, at late echoes. "
        "Fringes that end within tissue mean that the coils were combined without their phase."
    )
    return Panel("phase", "Phase", words, views)


PANELS = (PanelType("phase quality", lambda page: phase_panel(page.maps, page.coarse)),)
