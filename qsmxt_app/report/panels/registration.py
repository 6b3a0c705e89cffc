"""Whether T1w and magnitude are aligned."""

from __future__ import annotations

from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType
from qsmxt_app.report.panels.regions import Overlay, relative_view
from qsmxt_app.report.pictures import outline
from qsmxt_app.report.rendering import show_number
from qsmxt_app.report.slices import Cut, size_mm
from qsmxt_app.report.volumes import Volumes


def registration_panel(anatomy: Volumes, record: ScanRecord) -> Panel | None:
    """T1w and the registered magnitude, alternating: what does not move in the picture is aligned."""
    pair = (("T1w", "t1w"), ("Magnitude", "magnitude_in_t1w"))
    if anatomy.grid is None or any(key not in anatomy.slices for _, key in pair):
        return None
    border = _mask_outline(anatomy)
    views = tuple(relative_view(name, anatomy, key, anatomy.grid, border) for name, key in pair)
    words = (
        f"{_how_aligned(record)} The surface of the brain and the ventricles should not jump between the two."
    )
    legend = (("mask", "outline of the brain on T1w"),) if "t1w_mask" in anatomy.slices else ()
    return Panel("registration", "T1w and magnitude", words, views, legend=legend, flip=True)


def _how_aligned(record: ScanRecord) -> str:
    alignment = record.segmentation.alignment
    if alignment.used == "header":
        return "The alignment of their headers was kept, because registration did not improve it."
    before, after = alignment.cost_before, alignment.cost_after
    if before is None or after is None:
        return "They were registered rigidly."
    change = f"from {show_number(before)} to {show_number(after)}"
    return f"They were registered rigidly, which changed the cost {change}."


def _mask_outline(anatomy: Volumes) -> Overlay:
    masks, grid = anatomy.slices.get("t1w_mask", {}), anatomy.grid

    def overlay(cut: Cut) -> tuple[tuple[str, str], ...]:
        if grid is None or cut not in masks:
            return ()
        return (("mask", outline(masks[cut], size_mm(grid, cut))),)

    return overlay


PANELS = (
    PanelType("comparison of T1w and magnitude", lambda page: registration_panel(page.anatomy, page.record)),
)
