"""Field map from the phase of all echoes."""

from __future__ import annotations

from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS
from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Fit the total field, ppm, and its standard error."""
    import numpy as np

    from qsmxt_app.qsm.constants import hz_per_ppm
    from qsmxt_app.qsm.echo_consistency import consistent_echoes
    from qsmxt_app.qsm.field import fit_total_field

    images, times = given.images, np.asarray(given.echo_times)
    phase, mask = images["phase"], images["mask"]
    remarks: tuple[str, ...] = ()
    bipolar = given.options["bipolar"] == "yes"
    if given.options["bipolar"] == "auto":
        phase, bipolar, remarks = consistent_echoes(images["magnitude"], phase, times, mask=mask)
    fit = fit_total_field(
        images["magnitude"],
        phase,
        times,
        mask=mask,
        voxel_size=given.voxel_size,
        bipolar=bipolar,
        unwrapping=str(given.options["unwrapping"]),
    )
    per_ppm = np.float32(hz_per_ppm(given.field_strength))
    maps = {"field": fit.total_field / per_ppm, "noise": fit.field_noise / per_ppm, "trust": fit.trust}
    return Made(maps, {"bipolar": bool(bipolar), "warnings": remarks})


COMMAND = Command(
    "fit the total field to all echoes, with its standard error",
    compute,
    outputs={"field": "field", "noise": "field", "trust": ""},
    needs=("magnitude", "phase", "mask"),
    echo_times=True,
    field_strength=True,
    options=(
        Option(
            "bipolar", "auto", "whether echoes alternate between readout polarities", ("auto", "yes", "no")
        ),
        Option("unwrapping", "romeo", "unwrapping method", tuple(UNWRAPPING_METHODS)),
    ),
)
