"""Separation of paramagnetic from diamagnetic sources."""

from __future__ import annotations

from qsmxt_app.qsm.constants import STATIC_DEPHASING
from qsmxt_app.qsm.separation import SEPARATION_METHODS
from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Separate the sources of chi by R2*, and by R2 where it is given."""
    from qsmxt_app.qsm.constants import hz_per_ppm
    from qsmxt_app.qsm.relaxation import fit_relaxation
    from qsmxt_app.qsm.separation.separate import separate_sources

    images, mask = given.images, given.images["mask"]
    separated = separate_sources(
        images["chi"],
        mask,
        r2star=fit_relaxation(images["magnitude"], given.echo_times, mask=mask).r2star,
        r2=images.get("r2"),
        magnitude=images["magnitude"],
        total_field=images["field"] * hz_per_ppm(given.field_strength),
        field_noise=images["noise"],
        echo_times=given.echo_times,
        voxel_size=given.voxel_size,
        b0_direction=given.b0_direction,
        field_strength=given.field_strength,
        method=str(given.options["method"]),
        constant=float(given.options["constant"]),
        threads=given.threads,
    )
    sources = separated.sources
    maps = {"paramagnetic": sources.paramagnetic, "diamagnetic": sources.diamagnetic}
    return Made(maps, separated.facts)


COMMAND = Command(
    "separate paramagnetic from diamagnetic sources; both maps are magnitudes",
    compute,
    outputs={"paramagnetic": "ppm", "diamagnetic": "ppm"},
    needs=("magnitude", "chi", "field", "noise", "mask"),
    takes=("r2",),
    echo_times=True,
    field_strength=True,
    options=(
        Option("method", "joint", "method of separation", tuple(SEPARATION_METHODS)),
        Option("constant", STATIC_DEPHASING, "R2' of a ppm of sources at 3 T, 1/s"),
    ),
)
