"""The total field from the phase of all echoes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.echo_combination import ECHO_COMBINATIONS
from qsmxt_app.qsm.echo_consistency import consistent_echoes
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.field_checks import check_field_fit, echo_number_warning, noise_warning
from qsmxt_app.qsm.morphology import with_inner_voids
from qsmxt_app.qsm.phase_checks import filter_warning
from qsmxt_app.qsm.relaxation import has_tissue_signal
from qsmxt_app.qsm.tgv import measured_laplacian
from qsmxt_app.qsm.tgv.receive_curvature import receive_curvature
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


class FieldInputSpec(StepInputSpec):
    """Inputs of `FitField`."""

    magnitude = image("all echoes")
    phase = image("all echoes, rad")
    filled = image("where the field is fitted")
    reliable = image("without what the magnitude or phase quality does not show")
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
        given = self.inputs
        magnitude, phase, affine = load(given.magnitude), load(given.phase), load_affine(given.magnitude)
        filled, echo_times = load_mask(given.filled), np.asarray(given.echo_times)
        size, bipolar = given.voxel_size, given.bipolar == "yes"
        remarks: tuple[str, ...] = ()
        if given.bipolar == "auto":
            phase, bipolar, remarks = consistent_echoes(magnitude, phase, echo_times, mask=filled)
        remarks += filter_warning(
            phase[..., -1], mask=filled, voxel_size=size, evolution=echo_times[-1] * given.field_strength
        )
        fit = fit_total_field(
            magnitude, phase, echo_times, mask=filled, voxel_size=size, bipolar=bipolar,
            unwrapping=given.unwrapping,
        )  # fmt: skip
        certain = filled & fit.known
        known = with_inner_voids(certain, filled, size)
        if not certain.any():
            raise ValueError("the phase is noise everywhere in the mask: no field can be read from it")
        measured = measured_laplacian(
            magnitude, phase, echo_times, field_strength=given.field_strength, voxel_size=size, mask=known,
            bipolar=bipolar, fit=fit, combination=given.combination,
        )  # fmt: skip
        laplacian = measured.laplacian
        if len(echo_times) == 1:
            tissue = load_mask(given.reliable) & certain
            laplacian -= np.where(known, receive_curvature(laplacian, tissue, size), np.float32(0))
        faults = check_field_fit(
            magnitude, phase, fit.total_field / np.float32(hz_per_ppm(given.field_strength)), filled=filled,
            reliable=load_mask(given.reliable), known=certain, voxel_size=size,
            b0_direction=given.b0_direction,
        )  # fmt: skip
        noise = float(np.median(fit.field_noise[certain]))
        remarks += echo_number_warning(len(echo_times))
        remarks += noise_warning(noise / hz_per_ppm(given.field_strength), size)
        maps = {
            "total_field": fit.total_field,
            "field_noise": fit.field_noise,
            "field_trust": np.where(filled, fit.trust, np.float32(0)),
            "laplacian": laplacian,
            "noise": measured.noise,
            "tissue": has_tissue_signal(magnitude, echo_times, size),
            "filled": known,
            "reliable": load_mask(given.reliable) & certain,
        }
        self.save_maps(maps, affine, folder)
        if len(echo_times) > 1:
            offset, coarse_affine = coarse_phase(fit.offset, filled, affine, size)
            self.save_maps({"offset": offset}, coarse_affine, folder)
        return {
            "bipolar": bool(bipolar),
            "noise_median_hz": noise,
            "known_fraction": float(certain.sum() / filled.sum()),
            "trusted_fraction": float(np.mean(fit.trust[certain] > 0.5)),
            "residual_median_rad": float(np.median(fit.residual[certain])),
            "offsets_removed": len(echo_times) > 1,
            **faults.measures,
            "warnings": (*remarks, *faults.warnings),
        }
