"""The figures of an acquisition: which maps, in which colours, with which words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.records.open_values import number
from qsmxt_app.records.scan import InversionResult, ScanRecord
from qsmxt_app.report.panel import Panel, View, make_view
from qsmxt_app.report.pictures import (
    CHI,
    CHI_NOISE,
    FIELD_NOISE,
    OFFSET,
    SWI,
    TRUST,
    Window,
    curve_plot,
    field_window,
    outline,
    r2star_window,
)
from qsmxt_app.report.slices import Cut, size_mm
from qsmxt_app.report.volumes import Volumes

MAGNITUDE = Window(0.0, 1.0, "of the brightest tissue")
WIDE = Window(-0.5, 0.5, "ppm")
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
    noise = volumes.slices.get("chi_noise")
    if noise is not None:
        told = "What the noise of the field causes, estimated; streaks and partial volume are not part of it."
        views.append(make_view("Standard error", noise, grid, CHI_NOISE, caption=told))
    told = record.reference.reference or "mean"
    known = {
        "none": "an unknown constant",
        "mean": "the mean over the mask",
        "region": "the mean over a region that was given",
    }
    reference = known.get(told, f"the mean over the region {told}")
    words = (
        f"Values are relative to {reference}. Bright is paramagnetic: iron in the deep grey nuclei, blood in "
        "veins. Dark is diamagnetic: myelin, calcification. The window is the same in every report."
    )
    return Panel("chi", "Susceptibility (χ)", words, tuple(views))


def mask_panel(volumes: Volumes) -> Panel | None:
    """Magnitude with the outline of the mask, and the holes that only one of the two passes sees."""
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
        legend.append(("hole", "phase not reliable: filled in by the second pass"))
        words += " Unreliable voxels are usual beside air and in strong veins, not in large areas."
    view = make_view("Magnitude", relative, grid, MAGNITUDE, overlay=overlay, outside=False)
    return Panel("mask", "Mask", words, (view,), legend=tuple(legend))


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


def swi_panel(volumes: Volumes) -> Panel | None:
    """Susceptibility-weighted images, where they were made."""
    maps = (("swi", "Susceptibility-weighted"), ("mip", "Minimum over a slab"))
    views = tuple(
        make_view(name, volumes.slices[key], volumes.grid, SWI, outside=False)
        for key, name in maps
        if key in volumes.slices and volumes.grid is not None
    )
    if not views:
        return None
    words = "Veins, bleeds and iron are dark. In the minimum over a slab, veins appear as lines."
    return Panel("swi", "Susceptibility-weighted images", words, views)


def r2star_panel(volumes: Volumes, record: ScanRecord) -> Panel | None:
    """R2*, where there are several echoes."""
    if volumes.grid is None or "r2star" not in volumes.slices:
        return None
    window = r2star_window(record.inputs.field_strength)
    view = make_view("R2*", volumes.slices["r2star"], volumes.grid, window)
    words = "How fast the signal decays. High in iron-rich nuclei, veins and beside air; low in fluid."
    return Panel("r2star", "R2*", words, (view,))


def convergence_panel(record: ScanRecord) -> Panel | None:
    """How the solver approached its solution."""
    tolerance = number(record.settings.get("tgv_tolerance"))
    kinds = (
        ("chi_change", "Relative change of χ", "#0b5c6b", tolerance),
        ("equation_residual", "Residual of the field equation", "#8a4b08", None),
    )
    plots = tuple(
        (
            curve_plot(title, curves, colour=colour, criterion=criterion),
            f"{title} against iteration, logarithmic",
        )
        for key, title, colour, criterion in kinds
        if (curves := _curves(record, key))
    )
    if not plots:
        return None
    states = [_state(name, solve) for name, solve in _solves(record) if solve.iterations]
    words = " ".join([*states, "Both curves should fall and flatten."])
    return Panel("convergence", "Convergence", words, plots=plots)


def _solves(record: ScanRecord) -> tuple[tuple[str, InversionResult], ...]:
    return ("whole mask", record.inversion), ("reliable voxels", record.inversion_reliable)


def _curves(record: ScanRecord, key: str) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    curves = {}
    for name, solve in _solves(record):
        history = solve.history
        points = [
            (iteration, value)
            for iteration, value in zip(history.iteration, getattr(history, key), strict=False)
            if value is not None
        ]
        if points:
            iterations, values = np.array(points, dtype=np.float64).T
            curves[name] = (iterations, values)
    return curves


def _state(name: str, solve: InversionResult) -> str:
    verb = {True: "converged after", False: "did not converge in", None: "ran for"}[solve.converged]
    return f"{name.capitalize()}: {verb} {solve.iterations} iterations."
