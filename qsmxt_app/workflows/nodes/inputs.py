"""Inputs that many nodes have."""

from __future__ import annotations

from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.workflows.node_base import StepInputSpec

Direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True, desc="in voxel axes")
VoxelSize = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True, desc="mm")


class FieldStepInputSpec(StepInputSpec):
    """Inputs of steps that work on a field in the units of chi, by its noise."""

    field_noise = File(exists=True, mandatory=True, desc="Hz")
    voxel_size = VoxelSize
    b0_direction = Direction
    field_strength = traits.Float(mandatory=True, desc="T")


def image(text: str) -> Any:
    """Declare an image that another node saved."""
    return File(exists=True, mandatory=True, desc=text)


def echo_times() -> Any:
    """Declare the echo times."""
    return traits.List(traits.Float, mandatory=True, desc="s, ascending")
