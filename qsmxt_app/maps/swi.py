"""Susceptibility-weighted image and its minimum-intensity projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsmxt_app.maps.declaration import Computed, MapStep, Need, Output, Scan, Shown, Switch, View

if TYPE_CHECKING:
    from qsmxt_app.arrays import BoolArray, FloatArray

LIMITS, UNIT = (0.0, 1.5), "of tissue"


def compute(scan: Scan, *, magnitude: FloatArray, total_field: FloatArray, field_mask: BoolArray) -> Computed:
    """Weight the magnitude by the field; the slab of the projection slides along the axis nearest to B0."""
    from qsmxt_app.qsm.swi import minimum_intensity_projection, swi

    weighted = swi(magnitude, total_field, scan.echo_times, mask=field_mask, voxel_size=scan.voxel_size)
    axis = max(range(3), key=lambda one: abs(scan.b0_direction[one]))
    projection = minimum_intensity_projection(weighted.swi, voxel_size=scan.voxel_size, axis=axis)
    facts = {"equivalent_echo_time": weighted.echo_time, "projection_axis": "ijk"[axis]}
    return Computed({"swi": weighted.swi, "mip": projection}, facts)


MAP = MapStep(
    "swi",
    compute,
    outputs={
        "swi": Output(
            "swi",
            units="arbitrary",
            algorithm=(
                "combined magnitude without coil profile, times a sigmoid of the filtered field "
                "(as CLEAR-SWI)"
            ),
        ),
        "mip": Output(
            "minIP",
            units="arbitrary",
            algorithm="minimum over a sliding slab of the susceptibility-weighted image",
        ),
    },
    need=Need(60, 14, 0.5),
    sentence=(
        "Susceptibility-weighted images [@haacke2004] were made from the combined magnitude and a sigmoid of "
        "the high-pass filtered field, as in CLEAR-SWI [@eckstein2021]."
    ),
    shown=Shown(
        (
            View("swi", "Susceptibility-weighted", LIMITS, UNIT, outside=False),
            View("mip", "Minimum over a slab", LIMITS, UNIT, outside=False),
        ),
        title="Susceptibility-weighted images",
        missing="susceptibility-weighted image",
        text="Veins, bleeds and iron are dark. In the minimum over a slab, veins appear as lines.",
    ),
    switch=Switch(True, "susceptibility-weighted image (SWI) and its minimum-intensity projection"),
)
