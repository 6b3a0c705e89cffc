"""Dipole inversion of a local field."""

from __future__ import annotations

from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Invert the local field to susceptibility, ppm."""
    import numpy as np

    from qsmxt_app.qsm.padded_grid import field_weights, regularising_noise

    images = given.images
    noise = images.get("noise", np.full_like(images["field"], given.options["noise_ppm"]))
    method = INVERSION_METHODS[str(given.options["method"])]
    result = method(
        images["field"],
        images["mask"],
        weights=field_weights(noise),
        noise=regularising_noise(noise, images["mask"]),
        echo_time=float(given.options["echo_time"]),
        field_strength=given.field_strength,
        threads=given.threads,
        **given.geometry,
    )
    facts = {"method": given.options["method"], "parameters": method.parameters_for_sidecar()}
    return Made({"chi": result.chi}, facts)


COMMAND = Command(
    "invert a local field to susceptibility",
    compute,
    outputs={"chi": "ppm"},
    needs=("field", "mask"),
    takes=("noise",),
    field_strength=True,
    options=(
        Option("method", "tv", "dipole inversion method", tuple(INVERSION_METHODS)),
        Option("noise_ppm", 0.001, "standard error of the field, ppm, where no image of it is given"),
        Option("echo_time", 0.02, "s; the phase that nonlinear inversions take the field to be"),
    ),
)
