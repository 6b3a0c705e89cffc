"""How the solver approached its solution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.records.open_values import number
from qsmxt_app.records.scan import InversionResult, ScanRecord
from qsmxt_app.report.panel import Panel, PanelType
from qsmxt_app.report.pictures import curve_plot


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


def _why_missing(record: ScanRecord) -> str:
    return "it is recorded for TGV-QSM only" if record.settings.get("qsm_method") == "two-step" else ""


PANELS = (PanelType("convergence of the solver", lambda page: convergence_panel(page.record), _why_missing),)
