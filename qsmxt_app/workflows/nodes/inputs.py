"""Inputs that many nodes have."""

from __future__ import annotations

from typing import Any

from nipype.interfaces.base import File, traits

Direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True, desc="in voxel axes")
VoxelSize = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True, desc="mm")


def image(text: str) -> Any:
    """Declare an image that another node saved."""
    return File(exists=True, mandatory=True, desc=text)


def echo_times() -> Any:
    """Declare the echo times."""
    return traits.List(traits.Float, mandatory=True, desc="s, ascending")
