"""Mask from magnitude and phase quality."""

from __future__ import annotations

from typing import Any

from qsmxt_app.tools.command import Command, Given, Made, Option


def compute(given: Given) -> Made:
    """Make the mask, and the one of voxels with reliable phase."""
    from qsmxt_app.qsm.masking import MaskOptions, build_masks

    source: Any = given.options["method"]
    if source == "combined" and "phase" not in given.images:
        source = "magnitude"
    threshold: Any = given.options["threshold"]
    masks = build_masks(
        given.images["magnitude"],
        given.images.get("phase"),
        given.echo_times,
        voxel_size=given.voxel_size,
        options=MaskOptions(
            source=source,
            threshold=threshold,
            closing_mm=float(given.options["closing"]),
            erosion_voxels=int(given.options["erosion"]),
            components=int(given.options["components"]),
            separation_mm=float(given.options["separation"]),
        ),
    )
    return Made(
        {"mask": masks.filled, "reliable": masks.reliable},
        {"method": source, "threshold": masks.threshold, "warnings": masks.warnings},
    )


COMMAND = Command(
    "mask from magnitude and phase quality, without anatomical prior",
    compute,
    outputs={"mask": "", "reliable": ""},
    needs=("magnitude",),
    takes=("phase",),
    echo_times=True,
    options=(
        Option("method", "combined", "what is thresholded", ("combined", "magnitude", "phase-quality")),
        Option("threshold", "otsu", "method for the threshold", ("otsu", "gaussian")),
        Option("closing", 3.0, "radius of the closing, mm"),
        Option("erosion", 0, "voxels to erode by"),
        Option("components", 3, "connected components to keep"),
        Option("separation", 4.0, "radius that disconnects scalp and brain, mm"),
    ),
)
