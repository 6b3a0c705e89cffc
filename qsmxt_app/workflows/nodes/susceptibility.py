"""From the field to a referenced susceptibility map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.echo_combination import ECHO_AVERAGES
from qsmxt_app.qsm.echo_maps import average_echoes, for_each_echo
from qsmxt_app.qsm.reference import reference_chi
from qsmxt_app.qsm.tgv import TGVOptions, TGVResult, solve_tgv
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
    volume_ml,
)
from qsmxt_app.workflows.nodes.given_image import load_on_grid
from qsmxt_app.workflows.nodes.inputs import Direction, VoxelSize, image


class TGVInputSpec(StepInputSpec):
    """Inputs of `InvertTGV`."""

    laplacian = image("ppm/mm^2, of the field or of each echo")
    noise = image("ppm, of the same")
    tissue = File(exists=True, desc="where the signal is tissue's; none where the mask holds voxels without")
    mask = image("where chi is reconstructed")
    whole = File(exists=True, desc="mask of the first pass, which a second pass lies in")
    first = File(exists=True, desc="chi of the first pass, ppm, by which the second is decided")
    voxel_size = VoxelSize
    b0_direction = Direction
    alpha = traits.Tuple(traits.Float, traits.Float, mandatory=True)
    max_iterations = traits.Int(mandatory=True)
    tolerance = traits.Float(mandatory=True)


class TGVOutputSpec(StepOutputSpec):
    """Outputs of `InvertTGV`."""

    chi = File(exists=True, desc="ppm, as many as inputs; none where a second pass is not needed")
    mask = File(exists=True, desc="where chi was reconstructed")


class InvertTGV(Step):
    """Reconstruct chi by TGV-QSM, from the field or from each echo by itself."""

    input_spec, output_spec = TGVInputSpec, TGVOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save chi."""
        given = self.inputs
        mask = second_pass(given.mask, given.whole, given.first)
        if mask is None:
            return SKIPPED
        laplacian, noise = load(given.laplacian), load(given.noise)
        if laplacian.ndim == 3:
            results = [self._solve(laplacian, noise, mask)]
            chi = results[0].chi
        else:
            echoes = range(laplacian.shape[-1])
            results = [self._solve(laplacian[..., echo], noise[..., echo], mask) for echo in echoes]
            chi = np.stack([result.chi for result in results], axis=-1)
        affine = load_affine(given.mask)
        self.save_maps({"chi": chi, "mask": mask}, affine, folder)
        slowest = max(results, key=lambda result: result.iterations)
        history = slowest.history
        return {
            "iterations": slowest.iterations,
            "converged": all(result.converged for result in results),
            "inverted_ml": volume_ml(mask, affine),
            "history": {
                "iteration": history.iteration,
                "chi_change": history.chi_change,
                "equation_residual": history.equation_residual,
            },
        }

    def _solve(self, laplacian: FloatArray, noise: FloatArray, mask: BoolArray) -> TGVResult:
        given = self.inputs
        return solve_tgv(
            laplacian,
            mask,
            voxel_size=given.voxel_size,
            b0_direction=given.b0_direction,
            noise=noise,
            tissue=load_mask(given.tissue) if defined(given.tissue) else None,
            options=TGVOptions(
                alpha=given.alpha, max_iterations=given.max_iterations, tolerance=given.tolerance
            ),
            threads=given.num_threads,
        )


class CombineInputSpec(StepInputSpec):
    """Inputs of `CombineAndReference`."""

    chi_filled = image("ppm, of the field or of each echo")
    chi_reliable = File(exists=True, desc="ppm; none with a single pass")
    filled = image("where chi is reported")
    reliable = File(exists=True, desc="mask of the second pass; none with a single one")
    brain = File(exists=True, desc="mask of the brain, where it was looked for")
    reference = traits.Str(mandatory=True, desc="brain, mean, none or region")
    reference_file = File(exists=True, desc="the region")
    echo_noise = File(exists=True, desc="of each echo's field, for their mean")
    average = traits.Enum(*ECHO_AVERAGES, usedefault=True, desc="how maps of single echoes are averaged")


class CombineOutputSpec(StepOutputSpec):
    """Outputs of `CombineAndReference`."""

    chi = File(exists=True, desc="ppm")
    chi_singlepass = File(exists=True, desc="ppm")
    chi_echoes = File(exists=True, desc="ppm, one an echo")
    chi_echo_spread = File(exists=True, desc="standard deviation over echoes, ppm")


class CombineAndReference(Step):
    """Combine both passes, average the maps of single echoes, and refer chi to its reference."""

    input_spec, output_spec = CombineInputSpec, CombineOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the final map, with two passes the map of the single one, and the maps of single echoes."""
        given = self.inputs
        affine, filled = load_affine(given.filled), load_mask(given.filled)
        region, reference = given.reference, given.reference
        if defined(given.reference_file):
            region = load_on_grid(given.reference_file, given.filled)
        elif reference == "brain":
            brain = load_mask(given.brain) & filled
            region, reference = (brain, reference) if brain.any() else ("mean", "mean")
        chi, maps = load(given.chi_filled), {}
        noise = load(given.echo_noise) if chi.ndim == 4 else None
        if defined(given.chi_reliable):
            single = chi if noise is None else average_echoes(chi, noise, given.average).mean
            maps["chi_singlepass"] = reference_chi(single, filled, region).chi
            reliable = load_mask(given.reliable) & filled
            chi = for_each_echo(
                lambda first, second: combine_two_pass(first, second, reliable, filled),
                load(given.chi_reliable),
                chi,
            )
        if noise is not None:
            maps["chi_echoes"] = for_each_echo(lambda one: reference_chi(one, filled, region).chi, chi)
            mean = average_echoes(maps["chi_echoes"], noise, given.average)
            chi, maps["chi_echo_spread"] = mean.mean, mean.spread
        referenced = reference_chi(chi, filled, region)
        self.save_maps({"chi": referenced.chi, **maps}, affine, folder)
        return {
            "reference": reference,
            "reference_voxels": referenced.voxels,
            "reference_value_ppm": referenced.value,
            **({} if noise is None else {"echo_average": given.average}),
        }
