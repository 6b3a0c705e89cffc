"""Background field removal."""

from __future__ import annotations

from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Remove the field of sources outside the mask; the mask may lose a layer by it."""
    from qsmxt_app.qsm.padded_grid import field_weights

    noise = given.images.get("noise")
    method = BACKGROUND_METHODS[str(given.options["method"])]
    removed = method(
        given.images["field"],
        given.images["mask"],
        weights=None if noise is None else field_weights(noise),
        threads=given.threads,
        **given.geometry,
    )
    return Made(
        {"field": removed.local_field, "mask": removed.mask},
        {"method": given.options["method"], "parameters": method.parameters_for_sidecar()},
    )


COMMAND = Command(
    "remove the background field",
    compute,
    outputs={"field": "field", "mask": ""},
    needs=("field", "mask"),
    takes=("noise",),
    field_strength=True,
    options=(Option("method", "lbv", "background field removal method", tuple(BACKGROUND_METHODS)),),
)
