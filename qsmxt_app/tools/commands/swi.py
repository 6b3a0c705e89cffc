"""Susceptibility-weighted image."""

from __future__ import annotations

from qsmxt_app.tools.command import Command, Given, Made


def compute(given: Given) -> Made:
    """Weight the magnitude by the field, and project its minimum along the axis nearest to B0."""
    from qsmxt_app.qsm.constants import hz_per_ppm
    from qsmxt_app.qsm.swi import minimum_intensity_projection, swi

    images = given.images
    field = images["field"] * hz_per_ppm(given.field_strength)
    weighted = swi(
        images["magnitude"], field, given.echo_times, mask=images["mask"], voxel_size=given.voxel_size
    )
    axis = max(range(3), key=lambda one: abs(given.b0_direction[one]))
    projection = minimum_intensity_projection(weighted.swi, voxel_size=given.voxel_size, axis=axis)
    return Made({"swi": weighted.swi, "minip": projection}, {"projection_axis": "ijk"[axis]})


COMMAND = Command(
    "susceptibility-weighted image and its minimum-intensity projection",
    compute,
    outputs={"swi": "arbitrary", "minip": "arbitrary"},
    needs=("magnitude", "field", "mask"),
    echo_times=True,
    field_strength=True,
)
