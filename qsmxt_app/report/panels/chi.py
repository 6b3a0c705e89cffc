"""Susceptibility in three planes."""

from __future__ import annotations

from qsmxt_app.maps import MAPS
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.panel import Panel, PanelType, View, make_view
from qsmxt_app.report.panels.maps import map_views
from qsmxt_app.report.pictures import CHI, Window
from qsmxt_app.report.slices import SliceGrid
from qsmxt_app.report.volumes import ONE_ECHO, Volumes

WIDE = Window(-0.5, 0.5, "ppm")
SPREAD = Window(0.0, 0.1, "ppm", "inferno")
DIFFERENCE = Window(-0.05, 0.05, "ppm", "RdBu_r")


def chi_panel(volumes: Volumes, record: ScanRecord) -> Panel | None:
    """Susceptibility in three planes; after two passes, also the single pass and the difference."""
    grid, final, single = volumes.grid, volumes.slices.get("chi"), volumes.slices.get("chi_singlepass")
    if grid is None or final is None:
        return None
    views = [make_view("Susceptibility", final, grid, CHI, by_plane=True)]
    if single is not None:
        change = {cut: final[cut] - single[cut] for cut in final}
        views = [
            make_view("Two passes (final)", final, grid, CHI, by_plane=True),
            make_view("Single pass", single, grid, CHI, by_plane=True),
            make_view(
                "Difference", change, grid, DIFFERENCE, by_plane=True, caption="Two passes minus single pass."
            ),
        ]
    views.append(
        make_view("Wide window", final, grid, WIDE, by_plane=True, caption="For strong sources and streaks.")
    )
    views += _echo_views(volumes, grid)
    views += [
        view
        for step in MAPS.values()
        if step.shown and not step.shown.title
        for view in map_views(step, volumes, record)
    ]
    reference_name = record.reference.reference or "mean"
    known = {
        "none": "an unknown constant",
        "brain": "the mean over the brain",
        "mean": "the mean over the mask",
        "region": "the mean over a region that was given",
    }
    reference = known.get(reference_name, f"the mean over the region {reference_name}")
    words = (
        f"Values are relative to {reference}. Bright is paramagnetic: iron in the deep grey nuclei, blood in "
        "veins. Dark is diamagnetic: myelin, calcification. The window is the same in every report."
    )
    return Panel("chi", "Susceptibility (χ)", words, tuple(views))


def _echo_views(volumes: Volumes, grid: SliceGrid) -> list[View]:
    """Paint the map of each echo and their spread, where echoes were reconstructed by themselves."""
    views = [
        make_view(f"Echo {key.rpartition('_')[2]}", slices, grid, CHI)
        for key, slices in volumes.slices.items()
        if ONE_ECHO(key)
    ]
    if spread := volumes.slices.get("chi_echo_spread"):
        caption = "Standard deviation over echoes, each with its weight in the mean."
        views.append(make_view("Spread over echoes", spread, grid, SPREAD, caption=caption))
    return views


PANELS = (PanelType("susceptibility map", lambda page: chi_panel(page.maps, page.record)),)
