"""Where chi is reconstructed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.brain_extraction import brain_extraction
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.qsm.mask_checks import extent_warnings
from qsmxt_app.qsm.masking import MaskOptions, build_masks
from qsmxt_app.qsm.stripped_magnitude import stripped_brain
from qsmxt_app.records.scan import STRIPPED
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    volume_ml,
)
from qsmxt_app.workflows.nodes.given_image import load_on_grid
from qsmxt_app.workflows.nodes.inputs import Direction, VoxelSize, echo_times, image


class MaskInputSpec(StepInputSpec):
    """Inputs of `BuildMasks`."""

    magnitude = image("all echoes")
    phase = image("all echoes, rad")
    echo_times = echo_times()
    voxel_size = VoxelSize
    b0_direction = Direction
    method = traits.Str(mandatory=True, desc="magnitude, phase-quality, combined or bet")
    mask_file = File(exists=True, desc="a mask given by the user")
    threshold = traits.Str(mandatory=True)
    threshold_value = traits.Float()
    closing_mm = traits.Float(mandatory=True)
    erosion_voxels = traits.Int(mandatory=True)
    components = traits.Int(mandatory=True)
    separation_mm = traits.Float(mandatory=True)
    find_brain = traits.Bool(mandatory=True)


class MaskOutputSpec(StepOutputSpec):
    """Outputs of `BuildMasks`."""

    filled = File(exists=True, desc="where chi is reported")
    reliable = File(exists=True, desc="without what the data do not show")
    outline = File(exists=True, desc="the object, also beyond the filled mask")
    brain = File(exists=True, desc="the brain inside the filled mask; none where it is not looked for")


class BuildMasks(Step):
    """Make the masks of both passes."""

    input_spec, output_spec = MaskInputSpec, MaskOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the filled and the reliable mask, and that of the brain."""
        given = self.inputs
        magnitude, affine = load(given.magnitude), load_affine(given.magnitude)
        options = MaskOptions(
            source="combined" if given.method == "bet" else given.method,
            threshold=given.threshold,
            value=defined(given.threshold_value),
            closing_mm=given.closing_mm,
            erosion_voxels=given.erosion_voxels,
            components=given.components,
            separation_mm=given.separation_mm,
            brain=given.find_brain,
        )
        combined = combine_magnitude(magnitude)
        within, source = self._within(combined)
        masks = build_masks(
            magnitude,
            load(given.phase),
            np.asarray(given.echo_times),
            voxel_size=given.voxel_size,
            options=options,
            within=within,
        )
        outline = masks.filled if masks.outline is None else masks.outline
        extent = extent_warnings(outline, combined, given.b0_direction)
        maps, brain = {"filled": masks.filled, "reliable": masks.reliable, "outline": outline}, {}
        if masks.brain is not None and masks.brain.any():
            maps["brain"] = masks.brain
            brain["brain_ml"] = volume_ml(masks.brain, affine)
        self.save_maps(maps, affine, folder)
        return {
            **brain,
            "method": source,
            "threshold": masks.threshold,
            "volume_ml": volume_ml(masks.filled, affine),
            "hole_fraction": masks.hole_fraction,
            "warnings": (*masks.warnings, *extent),
        }

    def _within(self, combined: FloatArray) -> tuple[Any, str]:
        """Return the mask that the data may not exceed, or none, and what made the mask.

        It is the user's, what is left of a magnitude that was stripped, or the brain.
        """
        method, size = self.inputs.method, self.inputs.voxel_size
        if defined(self.inputs.mask_file):
            return load_on_grid(self.inputs.mask_file, self.inputs.magnitude), "given mask"
        stripped = stripped_brain(combined, size)
        if stripped is not None:
            return stripped, STRIPPED
        return brain_extraction(combined, voxel_size=size) if method == "bet" else None, method
