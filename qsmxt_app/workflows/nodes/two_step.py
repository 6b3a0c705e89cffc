"""Background removal and dipole inversion, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.two_step import FittedField, invert_local_field, remove_background
from qsmxt_app.workflows.node_base import (
    SKIPPED,
    Step,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
    second_pass,
    volume_ml,
)
from qsmxt_app.workflows.nodes.inputs import FieldStepInputSpec, echo_times, image


class BackgroundInputSpec(FieldStepInputSpec):
    """Inputs of `RemoveBackground`."""

    method = traits.Str(mandatory=True)
    total_field = image("Hz")
    mask = image("where it is known")
    whole = File(exists=True, desc="mask of the first pass, which a second pass lies in")
    first = File(exists=True, desc="chi of the first pass, ppm, by which the second is decided")


class BackgroundOutputSpec(StepOutputSpec):
    """Outputs of `RemoveBackground`; none where a second pass is not needed."""

    local_field = File(exists=True, desc="Hz")
    mask = File(exists=True, desc="where there is a local field")
    measured = File(exists=True, desc="where it tells something")


class RemoveBackground(Step):
    """Split off the field of sources outside the mask.

    Each pass has its own local field: to the second, sources in the holes of its mask are background.
    """

    input_spec, output_spec = BackgroundInputSpec, BackgroundOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the local field and where it is known."""
        given = self.inputs
        mask = second_pass(given.mask, given.whole, given.first)
        if mask is None:
            return SKIPPED
        total = _fitted(given.total_field, given)
        removed = remove_background(given.method, total, mask, given.num_threads)
        maps = {
            "local_field": removed.local_field * np.float32(hz_per_ppm(given.field_strength)),
            "mask": removed.mask,
            "measured": removed.measured,
        }
        affine = load_affine(given.mask)
        self.save_maps(maps, affine, folder)
        return {
            "background_iterations": removed.iterations,
            "background_converged": removed.converged,
            "local_field_volume_ml": volume_ml(removed.mask, affine),
            "background_parameters": BACKGROUND_METHODS[given.method].parameters_for_sidecar(),
        }


class InversionInputSpec(FieldStepInputSpec):
    """Inputs of `InvertField`."""

    method = traits.Str(mandatory=True)
    local_field = File(exists=True, desc="Hz; none where a second pass is not needed")
    mask = File(exists=True, desc="where chi is reconstructed")
    measured = File(exists=True, desc="where the local field tells something")
    echo_times = echo_times()


class InversionOutputSpec(StepOutputSpec):
    """Outputs of `InvertField`."""

    chi = File(exists=True, desc="ppm; none where a second pass is not needed")


class InvertField(Step):
    """Invert the local field."""

    input_spec, output_spec = InversionInputSpec, InversionOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save chi."""
        given = self.inputs
        if not defined(given.local_field):
            return SKIPPED
        result, noise = invert_local_field(
            given.method,
            _fitted(given.local_field, given),
            load_mask(given.mask),
            load_mask(given.measured),
            given.echo_times,
            given.num_threads,
        )
        self.save_maps({"chi": result.chi}, load_affine(given.mask), folder)
        return {
            "iterations": result.iterations,
            "converged": result.converged,
            "noise_ppm": noise,
            "inversion_parameters": INVERSION_METHODS[given.method].parameters_for_sidecar(),
        }


def _fitted(field: str, given: Any) -> FittedField:
    """Load a field with what every step of this kind is given."""
    noise = load(given.field_noise)
    return FittedField(load(field), noise, given.voxel_size, given.b0_direction, given.field_strength)
