"""The total field from the phase of all echoes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.qsm.echo_combination import ECHO_COMBINATIONS
from qsmxt_app.qsm.scan_field import fit_scan_field
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    load,
    load_affine,
    load_mask,
)
from qsmxt_app.workflows.nodes.inputs import Direction, VoxelSize, echo_times, image
from qsmxt_app.workflows.overview import coarse_phase

_SAVED = (
    "total_field",
    "field_noise",
    "random_noise",
    "field_trust",
    "laplacian",
    "noise",
    "tissue",
    "filled",
    "reliable",
)


class FieldInputSpec(StepInputSpec):
    """Inputs of `FitField`."""

    magnitude = image("all echoes")
    phase = image("all echoes, rad")
    filled = image("where the field is fitted")
    reliable = image("without what the magnitude or phase quality does not show")
    outline = image("the object, also beyond the filled mask")
    echo_times = echo_times()
    voxel_size = VoxelSize
    b0_direction = Direction
    field_strength = traits.Float(mandatory=True, desc="T")
    bipolar = traits.Enum("yes", "no", "auto", mandatory=True, desc="auto: as the phase says")
    unwrapping = traits.Str(mandatory=True)
    combination = traits.Enum(*ECHO_COMBINATIONS, usedefault=True, desc="what of the echoes is combined")


class FieldOutputSpec(StepOutputSpec):
    """Outputs of `FitField`."""

    total_field = File(exists=True, desc="Hz")
    field_noise = File(exists=True, desc="Hz")
    random_noise = File(exists=True, desc="standard deviation of the field over repeated scans, Hz")
    field_trust = File(exists=True, desc="0 (random) to 1 (certain)")
    offset = File(exists=True, desc="removed from the phase of all echoes, rad, on a coarse grid")
    laplacian = File(exists=True, desc="of the field, ppm/mm^2; one an echo where maps are combined")
    noise = File(exists=True, desc="of the field that the Laplacian is of, ppm")
    tissue = File(exists=True, desc="where the signal is tissue's")
    filled = File(exists=True, desc="the filled mask where the field is known: where chi is reported")
    reliable = File(exists=True, desc="the reliable mask where the field is known")


class FitField(Step):
    """Remove phase offsets, fit the field to all echoes, and find out where it is known."""

    input_spec, output_spec = FieldInputSpec, FieldOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the field, its noise, its Laplacian, and the masks where it is known."""
        given, affine = self.inputs, load_affine(self.inputs.magnitude)
        field = fit_scan_field(
            load(given.magnitude),
            load(given.phase),
            given.echo_times,
            filled=load_mask(given.filled),
            reliable=load_mask(given.reliable),
            outline=load_mask(given.outline),
            voxel_size=given.voxel_size,
            b0_direction=given.b0_direction,
            field_strength=given.field_strength,
            bipolar=given.bipolar,
            unwrapping=given.unwrapping,
            combination=given.combination,
        )
        self.save_maps({name: getattr(field, name) for name in _SAVED}, affine, folder)
        if field.offset is not None:
            offset, coarse_affine = coarse_phase(
                field.offset, load_mask(given.filled), affine, given.voxel_size
            )
            self.save_maps({"offset": offset}, coarse_affine, folder)
        return {**field.facts, "warnings": field.warnings}
