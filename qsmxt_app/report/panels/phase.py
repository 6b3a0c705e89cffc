"""How reliable the phase is, and which offset was removed from it."""

from __future__ import annotations

from qsmxt_app.report.panel import Panel, PanelType, views_of
from qsmxt_app.report.pictures import OFFSET, TRUST
from qsmxt_app.report.volumes import Volumes


def phase_panel(volumes: Volumes, coarse: Volumes) -> Panel | None:
    """How far the phase can be trusted, and what was taken off it: the offsets of the receive coils."""
    views = views_of(
        volumes,
        ("field_trust", "Trust", TRUST, "1 where the echoes agree, 0 where they contradict each other."),
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
        "Trust is lost where signal is: beside air, in strong veins, where the echoes come too late. Fringes "
        "that end in the middle of tissue mean that the coils were combined without their phase."
    )
    return Panel("phase", "Phase", words, views)


PANELS = (PanelType("phase quality", lambda page: phase_panel(page.maps, page.coarse)),)
