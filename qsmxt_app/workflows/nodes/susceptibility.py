"""From the field to a referenced susceptibility map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.qsm.reference import reference_chi
from qsmxt_app.qsm.tgv import TGVOptions, solve_tgv
from qsmxt_app.qsm.two_pass import combine_two_pass
from qsmxt_app.workflows.node_base import (
    SKIPPED,
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
    second_pass,
)
from qsmxt_app.workflows.nodes.given_image import load_on_grid
from qsmxt_app.workflows.nodes.inputs import Direction, VoxelSize, image


class TGVInputSpec(StepInputSpec):
    """Inputs of `InvertTGV`."""

    laplacian = image("ppm/mm^2")
    noise = image("ppm")
    tissue = File(exists=True, desc="where the signal is tissue's; none where the mask holds voxels without")
    mask = image("where chi is reconstructed")
    whole = File(exists=True, desc="mask of the first pass, which a second pass lies in")
    voxel_size = VoxelSize
    b0_direction = Direction
    alpha = traits.Tuple(traits.Float, traits.Float, mandatory=True)
    max_iterations = traits.Int(mandatory=True)
    tolerance = traits.Float(mandatory=True)


class TGVOutputSpec(StepOutputSpec):
    """Outputs of `InvertTGV`."""

    chi = File(exists=True, desc="ppm; none where a second pass would repeat the first")


class InvertTGV(Step):
    """Reconstruct chi by TGV-QSM."""

    input_spec, output_spec = TGVInputSpec, TGVOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save chi."""
        given = self.inputs
        mask = second_pass(given.mask, given.whole)
        if mask is None:
            return SKIPPED
        result = solve_tgv(
            load(given.laplacian),
            mask,
            voxel_size=given.voxel_size,
            b0_direction=given.b0_direction,
            noise=load(given.noise),
            tissue=load_mask(given.tissue) if defined(given.tissue) else None,
            options=TGVOptions(
                alpha=given.alpha, max_iterations=given.max_iterations, tolerance=given.tolerance
            ),
            threads=given.num_threads,
        )
        self.save_maps({"chi": result.chi}, load_affine(given.mask), folder)
        history = result.history
        return {
            "iterations": result.iterations,
            "converged": result.converged,
            "history": {
                "iteration": history.iteration,
                "chi_change": history.chi_change,
                "equation_residual": history.equation_residual,
            },
        }


class CombineInputSpec(StepInputSpec):
    """Inputs of `CombineAndReference`."""

    chi_filled = image("ppm")
    chi_reliable = File(exists=True, desc="ppm; none with a single pass")
    filled = image("where chi is reported")
    reliable = File(exists=True, desc="mask of the second pass; none with a single one")
    reference = traits.Str(mandatory=True, desc="mean, none or region")
    reference_file = File(exists=True, desc="the region")


class CombineOutputSpec(StepOutputSpec):
    """Outputs of `CombineAndReference`."""

    chi = File(exists=True, desc="ppm")
    chi_singlepass = File(exists=True, desc="ppm")


class CombineAndReference(Step):
    """Combine both passes, and refer chi to its reference."""

    input_spec, output_spec = CombineInputSpec, CombineOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the final map and, with two passes, the map of the single one."""
        given = self.inputs
        affine, filled = load_affine(given.filled), load_mask(given.filled)
        region = given.reference
        if defined(given.reference_file):
            region = load_on_grid(given.reference_file, given.filled)
        chi = load(given.chi_filled)
        if defined(given.chi_reliable):
            single = reference_chi(chi, filled, region)
            self.save_maps({"chi_singlepass": single.chi}, affine, folder)
            reliable = load_mask(given.reliable) & filled
            chi = combine_two_pass(load(given.chi_reliable), chi, reliable, filled)
        referenced = reference_chi(chi, filled, region)
        self.save_maps({"chi": referenced.chi}, affine, folder)
        return {
            "reference": given.reference,
            "reference_voxels": referenced.voxels,
            "reference_value_ppm": referenced.value,
        }
