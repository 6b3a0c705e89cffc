"""What the magnitude tells beside chi: relaxation and susceptibility-weighted images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File

from qsmxt_app.qsm.relaxation import fit_relaxation
from qsmxt_app.qsm.swi import minimum_intensity_projection, swi
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    load,
    load_affine,
    load_mask,
)
from qsmxt_app.workflows.nodes.inputs import Direction, VoxelSize, echo_times, image


class RelaxationInputSpec(StepInputSpec):
    """Inputs of `FitRelaxation`."""

    magnitude = image("all echoes")
    mask = image("where it is fitted")
    echo_times = echo_times()


class RelaxationOutputSpec(StepOutputSpec):
    """Outputs of `FitRelaxation`."""

    r2star = File(exists=True, desc="1/s")
    t2star = File(exists=True, desc="s")
    s0 = File(exists=True, desc="units of the magnitude")


class FitRelaxation(Step):
    """Fit R2*, T2* and S0."""

    input_spec, output_spec = RelaxationInputSpec, RelaxationOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the three maps."""
        given = self.inputs
        affine, mask = load_affine(given.magnitude), load_mask(given.mask)
        fit = fit_relaxation(load(given.magnitude), np.asarray(given.echo_times), mask=mask)
        self.save_maps({"r2star": fit.r2star, "t2star": fit.t2star, "s0": fit.s0}, affine, folder)
        return {"r2star_median": float(np.median(fit.r2star[mask]))}


class SWIInputSpec(StepInputSpec):
    """Inputs of `ComputeSWI`."""

    magnitude = image("all echoes")
    total_field = image("Hz")
    mask = image("where the field is known")
    echo_times = echo_times()
    voxel_size = VoxelSize
    b0_direction = Direction


class SWIOutputSpec(StepOutputSpec):
    """Outputs of `ComputeSWI`."""

    swi = File(exists=True, desc="about 1 in tissue")
    mip = File(exists=True, desc="its minimum over a slab")


class ComputeSWI(Step):
    """Make the susceptibility-weighted image and its minimum-intensity projection."""

    input_spec, output_spec = SWIInputSpec, SWIOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save both images; the slab slides along the axis nearest to B0, as readers are used to."""
        given = self.inputs
        affine = load_affine(given.magnitude)
        weighted = swi(
            load(given.magnitude),
            load(given.total_field),
            given.echo_times,
            mask=load_mask(given.mask),
            voxel_size=given.voxel_size,
        )
        axis = int(np.argmax(np.abs(given.b0_direction)))
        projection = minimum_intensity_projection(weighted.swi, voxel_size=given.voxel_size, axis=axis)
        self.save_maps({"swi": weighted.swi, "mip": projection}, affine, folder)
        return {"equivalent_echo_time": weighted.echo_time, "projection_axis": "ijk"[axis]}
