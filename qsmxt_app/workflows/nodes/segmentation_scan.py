"""Regions of a scan: where the T1w lies, its labels on the grid of the maps, and the values in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.registration import Grid, Image, Transform, apply, extension, load_transform, save_transform
from qsmxt_app.registration.label_resampling import resample_labels
from qsmxt_app.segment.regional_values import erode_labels
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
)
from qsmxt_app.workflows.nodes.inputs import image


def save_both_ways(step: Step, transform: Transform, there: str, back: str, folder: Path) -> None:
    """Save a transform and its inverse as two outputs of a step."""
    for name, one in ((there, transform), (back, transform.inverse())):
        step._results[name] = str(save_transform(one, folder / f"{name}{extension(one)}"))


class AlignInputSpec(StepInputSpec):
    """Inputs of `AlignToT1w`."""

    magnitude = image("all echoes")
    mask = image("where the magnitude shows the head")
    t1w = image("without bias field")
    t1w_mask = image("the brain")


class AlignOutputSpec(StepOutputSpec):
    """Outputs of `AlignToT1w`."""

    qsm_to_t1w = File(exists=True, desc="rigid")
    t1w_to_qsm = File(exists=True, desc="its inverse")
    magnitude_in_t1w = File(exists=True, desc="the magnitude on the T1w's grid")


class AlignToT1w(Step):
    """Lay the gradient echo upon the T1w."""

    input_spec, output_spec = AlignInputSpec, AlignOutputSpec
    code = ("qsmxt_app.registration", "qsmxt_app.qsm.magnitude")

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform both ways, and the magnitude as the T1w sees it."""
        from qsmxt_app.segment.alignment import align_to_t1w
        from qsmxt_app.segment.t1w import PreparedT1w

        given = self.inputs
        magnitude = Image(combine_magnitude(load(given.magnitude)), load_affine(given.magnitude))
        t1w = Image(load(given.t1w), load_affine(given.t1w))
        prepared = PreparedT1w(t1w, load_mask(given.t1w_mask), ())
        found = align_to_t1w(magnitude, load_mask(given.mask), prepared)
        save_both_ways(self, found.transform, "qsm_to_t1w", "t1w_to_qsm", folder)
        self.save_maps(
            {"magnitude_in_t1w": apply(magnitude, t1w.grid, found.transform).array}, t1w.affine, folder
        )
        return {
            "alignment": {
                "used": found.used,
                "cost_before": found.cost_before,
                "cost_after": found.cost_after,
            },
            "warnings": [found.warning] if found.warning else [],
        }


class LabelScanInputSpec(StepInputSpec):
    """Inputs of `LabelScan`."""

    labels = image("in their own space")
    chi = image("ppm, on the grid that is labelled")
    t1w_to_qsm = File(exists=True, desc="none where the labels lie in the world of the scan already")
    qsm_to_t1w = File(exists=True, desc="its inverse")
    threshold = traits.Float(mandatory=True, desc="share of a voxel that its region must fill")
    erosion = traits.Int(mandatory=True, desc="voxel layers taken off every region")


class LabelScanOutputSpec(StepOutputSpec):
    """Outputs of `LabelScan`."""

    dseg = File(exists=True, desc="labels on the grid of the maps")


class LabelScan(Step):
    """Bring labels to the grid of the maps, in one interpolation."""

    input_spec, output_spec = LabelScanInputSpec, LabelScanOutputSpec
    code = ("qsmxt_app.registration.label_resampling", "qsmxt_app.segment.regional_values")

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the labels."""
        given = self.inputs
        labels = Image(load(given.labels).astype(np.int32), load_affine(given.labels))
        chi = load(given.chi)
        grid = Grid(chi.shape, load_affine(given.chi))
        transform = None
        if defined(given.t1w_to_qsm):
            transform = load_transform(Path(given.t1w_to_qsm), Path(given.qsm_to_t1w))
        found = resample_labels(labels, grid, transform)
        kept = np.where(found.fraction > given.threshold, found.labels.array, 0)
        self.save_maps({"dseg": erode_labels(kept, given.erosion)}, grid.affine, folder)
        return {}
