"""The steps from raw images to a referenced susceptibility map, each a thin node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.images import load_acquisition
from qsmxt_app.qsm.brain_extraction import brain_extraction
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.qsm.masking import MaskOptions, build_masks
from qsmxt_app.qsm.morphology import with_inner_voids
from qsmxt_app.qsm.reference import reference_chi
from qsmxt_app.qsm.relaxation import fit_relaxation
from qsmxt_app.qsm.tgv import TGVOptions, combine_echoes, laplacian_of_fit, solve_tgv
from qsmxt_app.qsm.two_pass import combine_two_pass
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
    load_on_grid,
    save,
)

Direction = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True, desc="in voxel axes")
VoxelSize = traits.Tuple(traits.Float, traits.Float, traits.Float, mandatory=True, desc="mm")


def _image(text: str) -> Any:
    return File(exists=True, mandatory=True, desc=text)


def _echo_times() -> Any:
    return traits.List(traits.Float, mandatory=True, desc="s, ascending")


def volume_ml(mask: Any, voxel_size: tuple[float, float, float]) -> float:
    """Return the volume of a mask in millilitres."""
    return float(np.count_nonzero(mask) * np.prod(voxel_size) / 1000)


class PrepareInputSpec(StepInputSpec):
    """Inputs of `Prepare`."""

    acquisition = traits.Instance(Acquisition, mandatory=True, nohash=True, desc="what is read")
    description = traits.Str(mandatory=True, desc="what of the acquisition the result depends on")
    files = traits.List(File(exists=True), mandatory=True, desc="the raw images, for the cache")


class PrepareOutputSpec(StepOutputSpec):
    """Outputs of `Prepare`."""

    magnitude = File(exists=True, desc="all echoes")
    phase = File(exists=True, desc="all echoes, rad")


class Prepare(Step):
    """Read all echoes, check their voxels, scale the phase to radians."""

    input_spec, output_spec = PrepareInputSpec, PrepareOutputSpec
    code = ("qsmxt_app.qsm.phase", "qsmxt_app.bids.images")

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save magnitude and phase of all echoes."""
        acquisition = self.inputs.acquisition
        images = load_acquisition(acquisition)
        self._results["magnitude"] = save(images.magnitude, acquisition.affine, folder / "magnitude.nii")
        self._results["phase"] = save(images.phase, acquisition.affine, folder / "phase.nii")
        return {"phase_scaling": images.phase_scaling, "warnings": images.warnings}


class MaskInputSpec(StepInputSpec):
    """Inputs of `BuildMasks`."""

    magnitude = _image("all echoes")
    phase = _image("all echoes, rad")
    echo_times = _echo_times()
    voxel_size = VoxelSize
    method = traits.Str(mandatory=True, desc="magnitude, phase-quality, combined or bet")
    mask_file = File(exists=True, desc="a mask given by the user")
    threshold = traits.Str(mandatory=True)
    threshold_value = traits.Float()
    closing_mm = traits.Float(mandatory=True)
    erosion_voxels = traits.Int(mandatory=True)
    components = traits.Int(mandatory=True)
    separation_mm = traits.Float(mandatory=True)


class MaskOutputSpec(StepOutputSpec):
    """Outputs of `BuildMasks`."""

    filled = File(exists=True, desc="where chi is reported")
    reliable = File(exists=True, desc="without what the data do not show")


class BuildMasks(Step):
    """Make the masks of both passes."""

    input_spec, output_spec = MaskInputSpec, MaskOutputSpec
    code = (
        "qsmxt_app.qsm.masking",
        "qsmxt_app.qsm.thresholds",
        "qsmxt_app.qsm.phase_quality",
        "qsmxt_app.qsm.morphology",
        "qsmxt_app.qsm.magnitude",
        "qsmxt_app.qsm.brain_extraction",
    )

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the filled and the reliable mask."""
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
        )
        masks = build_masks(
            magnitude,
            load(given.phase),
            np.asarray(given.echo_times),
            voxel_size=given.voxel_size,
            options=options,
            within=self._within(magnitude),
        )
        self._results["filled"] = save(masks.filled, affine, folder / "filled.nii")
        self._results["reliable"] = save(masks.reliable, affine, folder / "reliable.nii")
        return {
            "method": "given mask" if defined(given.mask_file) else given.method,
            "threshold": masks.threshold,
            "volume_ml": volume_ml(masks.filled, given.voxel_size),
            "hole_fraction": masks.hole_fraction,
            "warnings": masks.warnings,
        }

    def _within(self, magnitude: Any) -> Any:
        """Return the mask that the data may not exceed: the user's, the brain, or none."""
        if defined(self.inputs.mask_file):
            return load_on_grid(self.inputs.mask_file, self.inputs.magnitude)
        if self.inputs.method != "bet":
            return None
        return brain_extraction(combine_magnitude(magnitude), voxel_size=self.inputs.voxel_size)


class FieldInputSpec(StepInputSpec):
    """Inputs of `FitField`."""

    magnitude = _image("all echoes")
    phase = _image("all echoes, rad")
    filled = _image("where the field is fitted")
    reliable = _image("without what the magnitude or phase quality does not show")
    echo_times = _echo_times()
    voxel_size = VoxelSize
    field_strength = traits.Float(mandatory=True, desc="T")
    bipolar = traits.Bool(mandatory=True)
    unwrapping = traits.Str(mandatory=True)


class FieldOutputSpec(StepOutputSpec):
    """Outputs of `FitField`."""

    total_field = File(exists=True, desc="Hz")
    field_noise = File(exists=True, desc="Hz")
    laplacian = File(exists=True, desc="of the field, ppm/mm^2")
    noise = File(exists=True, desc="of the field that the Laplacian is of, ppm")
    filled = File(exists=True, desc="the filled mask where the field is known: where chi is reported")
    reliable = File(exists=True, desc="the reliable mask where the field is known")


class FitField(Step):
    """Remove phase offsets, fit the field to all echoes, and find out where it is known."""

    input_spec, output_spec = FieldInputSpec, FieldOutputSpec
    code = (
        "qsmxt_app.qsm.bending",
        "qsmxt_app.qsm.echo_fit",
        "qsmxt_app.qsm.field",
        "qsmxt_app.qsm.morphology",
        "qsmxt_app.qsm.noise",
        "qsmxt_app.qsm.offsets",
        "qsmxt_app.qsm.phase",
        "qsmxt_app.qsm.posterior_fit",
        "qsmxt_app.qsm.smooth_phase",
        "qsmxt_app.qsm.unwrap",
        "qsmxt_app.qsm.tgv.echoes",
        "qsmxt_app.qsm.tgv.fitted",
    )

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the field, its noise, its Laplacian, and the masks where it is known."""
        given = self.inputs
        magnitude, phase, affine = load(given.magnitude), load(given.phase), load_affine(given.magnitude)
        filled, echo_times = load_mask(given.filled), np.asarray(given.echo_times)
        size = given.voxel_size
        fit = fit_total_field(
            magnitude, phase, echo_times, mask=filled, voxel_size=size, bipolar=given.bipolar,
            unwrapping=given.unwrapping,
        )  # fmt: skip
        certain = filled & fit.known
        known = with_inner_voids(certain, filled, size)
        if not certain.any():
            raise ValueError("the phase is noise everywhere in the mask: no field can be read from it")
        measured = (
            laplacian_of_fit(fit, field_strength=given.field_strength, voxel_size=size, mask=known)
            if len(echo_times) > 1
            else combine_echoes(
                magnitude, phase, echo_times, field_strength=given.field_strength, voxel_size=size, mask=known
            )
        )
        maps = {
            "total_field": fit.total_field,
            "field_noise": fit.field_noise,
            "laplacian": measured.laplacian,
            "noise": measured.noise,
            "filled": known,
            "reliable": load_mask(given.reliable) & certain,
        }
        for name, array in maps.items():
            self._results[name] = save(array, affine, folder / f"{name}.nii")
        return {
            "noise_median_hz": float(np.median(fit.field_noise[certain])),
            "known_fraction": float(certain.sum() / filled.sum()),
            "trusted_fraction": float(np.mean(fit.trust[certain] > 0.5)),
            "residual_median_rad": float(np.median(fit.residual[certain])),
            "offsets_removed": len(echo_times) > 1,
            "warnings": getattr(fit, "warnings", ()),
        }


class RelaxationInputSpec(StepInputSpec):
    """Inputs of `FitRelaxation`."""

    magnitude = _image("all echoes")
    mask = _image("where it is fitted")
    echo_times = _echo_times()


class RelaxationOutputSpec(StepOutputSpec):
    """Outputs of `FitRelaxation`."""

    r2star = File(exists=True, desc="1/s")
    t2star = File(exists=True, desc="s")
    s0 = File(exists=True, desc="units of the magnitude")


class FitRelaxation(Step):
    """Fit R2*, T2* and S0."""

    input_spec, output_spec = RelaxationInputSpec, RelaxationOutputSpec
    code = ("qsmxt_app.qsm.relaxation", "qsmxt_app.qsm.noise")

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the three maps."""
        given = self.inputs
        affine, mask = load_affine(given.magnitude), load_mask(given.mask)
        fit = fit_relaxation(load(given.magnitude), np.asarray(given.echo_times), mask=mask)
        for name, array in {"r2star": fit.r2star, "t2star": fit.t2star, "s0": fit.s0}.items():
            self._results[name] = save(array, affine, folder / f"{name}.nii")
        return {"r2star_median": float(np.median(fit.r2star[mask])), "warnings": getattr(fit, "warnings", ())}


class TGVInputSpec(StepInputSpec):
    """Inputs of `InvertTGV`."""

    laplacian = _image("ppm/mm^2")
    noise = _image("ppm")
    mask = _image("where chi is reconstructed")
    voxel_size = VoxelSize
    b0_direction = Direction
    alpha = traits.Tuple(traits.Float, traits.Float, mandatory=True)
    max_iterations = traits.Int(mandatory=True)
    tolerance = traits.Float(mandatory=True)


class TGVOutputSpec(StepOutputSpec):
    """Outputs of `InvertTGV`."""

    chi = File(exists=True, desc="ppm")


class InvertTGV(Step):
    """Reconstruct chi by TGV-QSM."""

    input_spec, output_spec = TGVInputSpec, TGVOutputSpec
    code = ("qsmxt_app.qsm.tgv",)

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save chi."""
        given = self.inputs
        result = solve_tgv(
            load(given.laplacian),
            load_mask(given.mask),
            voxel_size=given.voxel_size,
            b0_direction=given.b0_direction,
            noise=load(given.noise),
            options=TGVOptions(
                alpha=given.alpha, max_iterations=given.max_iterations, tolerance=given.tolerance
            ),
            threads=given.num_threads,
        )
        self._results["chi"] = save(result.chi, load_affine(given.mask), folder / "chi.nii")
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

    chi_filled = _image("ppm")
    chi_reliable = File(exists=True, desc="ppm; none with a single pass")
    filled = _image("where chi is reported")
    reliable = _image("without what the data do not show")
    reference = traits.Str(mandatory=True, desc="mean, none or region")
    reference_file = File(exists=True, desc="the region")


class CombineOutputSpec(StepOutputSpec):
    """Outputs of `CombineAndReference`."""

    chi = File(exists=True, desc="ppm")
    chi_singlepass = File(exists=True, desc="ppm")


class CombineAndReference(Step):
    """Combine both passes, and refer chi to its reference."""

    input_spec, output_spec = CombineInputSpec, CombineOutputSpec
    code = ("qsmxt_app.qsm.two_pass", "qsmxt_app.qsm.reference")

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
            self._results["chi_singlepass"] = save(single.chi, affine, folder / "chi_singlepass.nii")
            chi = combine_two_pass(load(given.chi_reliable), chi, load_mask(given.reliable), filled)
        referenced = reference_chi(chi, filled, region)
        self._results["chi"] = save(referenced.chi, affine, folder / "chi.nii")
        return {"reference": given.reference, "reference_value_ppm": referenced.value}


class ReportInputSpec(StepInputSpec):
    """Inputs of `WriteReport`."""

    subject = traits.Str(mandatory=True)
    output_dir = traits.Str(mandatory=True)


class ReportOutputSpec(StepOutputSpec):
    """Outputs of `WriteReport`."""

    page = File(exists=True)


class WriteReport(Step):
    """Write the page of a participant from what is on disk."""

    input_spec, output_spec = ReportInputSpec, ReportOutputSpec
    code = ("qsmxt_app.report",)

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write `sub-XX.html`."""
        from qsmxt_app.report.participant import build_participant_report

        self._results["page"] = str(
            build_participant_report(Path(self.inputs.output_dir), self.inputs.subject)
        )
        return {}
