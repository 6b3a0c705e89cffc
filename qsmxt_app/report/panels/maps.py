"""Panels of the maps beside susceptibility, as their declarations say."""

from __future__ import annotations

from qsmxt_app.maps import MAPS, declaration
from qsmxt_app.maps.declaration import MapStep
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType, ScanPage, View, make_view
from qsmxt_app.report.pictures import Window
from qsmxt_app.report.volumes import Volumes


def map_views(step: MapStep, volumes: Volumes, record: ScanRecord) -> tuple[View, ...]:
    """Paint those outputs of a step that can be read.

    Parameters
    ----------
    step
        Says how they are shown.
    volumes, record
        Of the scan.
    """
    if step.shown is None or volumes.grid is None:
        return ()
    return tuple(
        make_view(
            view.title,
            volumes.slices[view.output],
            volumes.grid,
            view_window(view, record.inputs.field_strength),
            caption=view.caption,
            outside=view.outside,
        )
        for view in step.shown.views
        if view.output in volumes.slices
    )


def map_panel(step: MapStep) -> PanelType:
    """Make the panel of a step."""
    shown = step.shown
    if shown is None:
        raise ValueError(f"{step.name} is not shown")

    def make(page: ScanPage) -> Panel | None:
        views = map_views(step, page.maps, page.record)
        return Panel(shown.views[0].output, shown.title, shown.text, views) if views else None

    def why_missing(record: ScanRecord) -> str:
        return step.why_not(record.settings, len(record.inputs.echo_times))

    return PanelType(shown.missing, make, why_missing)


def view_window(view: declaration.View, field_strength: float | None) -> Window:
    """Return the colours of a view at a field strength in T."""
    low, high = view.limits(field_strength) if callable(view.limits) else view.limits
    return Window(low, high, view.unit, view.colours, view.logarithmic)


PANELS = tuple(map_panel(step) for step in MAPS.values() if step.shown and step.shown.title)
