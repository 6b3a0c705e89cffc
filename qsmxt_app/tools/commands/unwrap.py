"""Phase unwrapping."""

from __future__ import annotations

from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS
from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Unwrap each echo, rad; ROMEO takes the later echoes from the first one in time."""
    import numpy as np

    from qsmxt_app.qsm.unwrapping.romeo import unwrap_echoes

    phase, mask, magnitude = given.images["phase"], given.images["mask"], given.images.get("magnitude")
    if given.options["method"] == "romeo" and len(given.echo_times) > 1 and given.options["in_time"]:
        times = list(given.echo_times)
        return Made({"unwrapped": unwrap_echoes(phase, mask, echo_times=times, magnitude=magnitude)})
    method = UNWRAPPING_METHODS[str(given.options["method"])]
    echoes = [
        method(
            np.ascontiguousarray(phase[..., echo]),
            mask,
            voxel_size=given.voxel_size,
            **({} if magnitude is None else {"magnitude": np.ascontiguousarray(magnitude[..., echo])}),
        )
        for echo in range(phase.shape[-1])
    ]
    return Made({"unwrapped": echoes[0] if len(echoes) == 1 else np.stack(echoes, axis=-1)})


COMMAND = Command(
    "unwrap the phase in space",
    compute,
    outputs={"unwrapped": "rad"},
    needs=("phase", "mask"),
    takes=("magnitude",),
    echo_times=True,
    options=(
        Option("method", "romeo", "unwrapping method", tuple(UNWRAPPING_METHODS)),
        Option("in_time", True, "unwrap later echoes from the first (ROMEO; the phase must have no offset)"),
    ),
)
