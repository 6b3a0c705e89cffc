"""R2*, T2* and S0 from the decay of the magnitude over echoes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsmxt_app.maps.declaration import Computed, MapStep, MeasuredOutput, Need, Output, Scan, Shown, View

if TYPE_CHECKING:
    from qsmxt_app.arrays import BoolArray, FloatArray

RATE, SIGNAL = "r2star", "s0"
"""Names of the outputs that other checks read: R2*, and the signal at an echo time of zero."""

ALGORITHM = "fit of the decay of the magnitude over echoes"


def compute(scan: Scan, *, magnitude: FloatArray, object_mask: BoolArray) -> Computed:
    """Fit R2* (1/s), T2* (s) and S0 (units of the magnitude)."""
    import numpy as np

    from qsmxt_app.qsm.relaxation import fit_relaxation

    fit = fit_relaxation(magnitude, np.asarray(scan.echo_times), mask=object_mask)
    maps = {"r2star": fit.r2star, "t2star": fit.t2star, "s0": fit.s0}
    return Computed(maps, {"r2star_median": float(np.median(fit.r2star[object_mask]))})


def r2star_limits(field_strength: float | None) -> tuple[float, float]:
    """Return the range of colours for R2*, which grows with the main field: 0 to 60 1/s at 3 T."""
    return 0.0, round(20.0 * (field_strength or 3.0), -1) or 10.0


MAP = MapStep(
    "relaxation",
    compute,
    outputs={
        "r2star": MeasuredOutput("R2starmap", units="1/s", algorithm=ALGORITHM, title="R2*", averaged=True),
        "t2star": MeasuredOutput("T2starmap", units="s", algorithm=ALGORITHM, title="T2*"),
        "s0": Output("S0map", units="arbitrary", algorithm=ALGORITHM),
    },
    need=Need(20, 14, 0.6),
    sentence="R2* was fitted to the decay of the magnitude, whose noise is Rician [@gudbjartsson1995].",
    shown=Shown(
        (View("r2star", "R2*", r2star_limits, "1/s", "inferno"),),
        title="R2*",
        missing="R2* map",
        text="How fast the signal decays. High in iron-rich nuclei, veins and beside air; low in fluid.",
    ),
    fewest_echoes=2,
)
