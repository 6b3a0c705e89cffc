"""The mask over the magnitude."""

from __future__ import annotations

from qsmxt_app.report.panel import Panel, PanelType, make_view
from qsmxt_app.report.pictures import Window, outline
from qsmxt_app.report.slices import Cut, size_mm
from qsmxt_app.report.volumes import Volumes

MAGNITUDE = Window(0.0, 1.0, "of the brightest tissue")


def mask_panel(volumes: Volumes) -> Panel | None:
    """Magnitude with the outline of the mask, and its holes where the phase is unreliable."""
    grid, magnitude, filled = volumes.grid, volumes.slices.get("magnitude"), volumes.slices.get("mask")
    reliable = volumes.slices.get("mask_reliable")
    background = magnitude or filled
    if grid is None or background is None:
        return None
    top = volumes.statistics.get("magnitude", {}).get("top", 0.0) if magnitude else 1.0
    relative = {cut: values / (top if top > 0 else 1.0) for cut, values in background.items()}

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        if filled is None:
            return ()
        size = size_mm(grid, cut)
        border = (("mask", outline(filled[cut], size)),)
        if reliable is None:
            return border
        holes = (filled[cut] != 0) & (reliable[cut] == 0)
        return (("hole", outline(holes, size)), *border)

    legend = [("mask", "outline of the mask")] if filled is not None else []
    words = "The outline should follow the surface of the head or brain, without air inside."
    if reliable is not None:
        legend.append(("hole", "phase not reliable"))
        words += " Unreliable voxels are usual beside air and in strong veins, not in large areas."
    view = make_view("Magnitude", relative, grid, MAGNITUDE, overlay=overlay, outside=False)
    return Panel("mask", "Mask", words, (view,), legend=tuple(legend))


PANELS = (PanelType("mask", lambda page: mask_panel(page.maps)),)
