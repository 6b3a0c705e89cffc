"""R2*, T2* and S0."""

from __future__ import annotations

from qsmxt_app.tools.command import Command, Given, Made


def compute(given: Given) -> Made:
    """Fit the decay of the magnitude."""
    import numpy as np

    from qsmxt_app.qsm.relaxation import fit_relaxation

    magnitude = given.images["magnitude"]
    mask = given.images.get("mask", np.ones(magnitude.shape[:3], bool))
    fit = fit_relaxation(magnitude, np.asarray(given.echo_times), mask=mask)
    return Made({"r2star": fit.r2star, "t2star": fit.t2star, "s0": fit.s0})


COMMAND = Command(
    "R2*, T2* and S0 from the decay of the magnitude",
    compute,
    outputs={"r2star": "1/s", "t2star": "s", "s0": "arbitrary"},
    needs=("magnitude",),
    takes=("mask",),
    echo_times=True,
)
