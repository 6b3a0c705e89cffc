"""Phase quality."""

from __future__ import annotations

from qsmxt_app.tools.command import Command, Given, Made


def compute(given: Given) -> Made:
    """Compute the mean weight of ROMEO around each voxel, 0 to 1."""
    from qsmxt_app.qsm.phase_quality import phase_quality

    images = given.images
    return Made({"quality": phase_quality(images["magnitude"], images["phase"], given.echo_times)})


COMMAND = Command(
    "phase quality by ROMEO's weights, 0 (noise) to 1",
    compute,
    outputs={"quality": ""},
    needs=("magnitude", "phase"),
    echo_times=True,
)
