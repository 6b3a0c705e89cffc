"""Regions of a scan: where the T1w lies, its labels on the grid of the maps, and the values in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.registration import Image, Transform, apply, load_transform
from qsmxt_app.segment.nuclei_search import Placement
from qsmxt_app.segment.regional_values import erode_labels
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.saved_atlas import load_saved_atlas
from qsmxt_app.segment.scan_labels import labels_on_scan
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_image,
    load_mask,
)
from qsmxt_app.workflows.nodes.inputs import image
from qsmxt_app.workflows.segmentation.t1w import load_prepared, save_with_inverse

if TYPE_CHECKING:
    from qsmxt_app.segment.atlas import Atlas
    from qsmxt_app.segment.labelling import NucleiOnScan


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
    """Register the gradient echo to the T1w image."""

    input_spec, output_spec = AlignInputSpec, AlignOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform, its inverse, and the magnitude on the T1w image's grid."""
        from qsmxt_app.segment.alignment import align_to_t1w

        given = self.inputs
        magnitude = Image(combine_magnitude(load(given.magnitude)), load_affine(given.magnitude))
        prepared = load_prepared(given.t1w, given.t1w_mask)
        found = align_to_t1w(magnitude, load_mask(given.mask), prepared)
        save_with_inverse(self, found.transform, "qsm_to_t1w", "t1w_to_qsm", folder)
        on_t1w = apply(magnitude, prepared.t1w.grid, found.transform)
        self.save_maps({"magnitude_in_t1w": on_t1w.array}, on_t1w.affine, folder)
        alignment = {
            "used": found.used,
            "cost_before": found.cost_before,
            "cost_after": found.cost_after,
        }
        return {"alignment": alignment, "warnings": [found.warning] if found.warning else []}


class LabelScanInputSpec(StepInputSpec):
    """Inputs of `LabelScan`."""

    labels = image("in their own space")
    chi = image("ppm, on the grid that is labelled")
    mask = image("where chi is reported")
    t1w_to_qsm = File(exists=True, desc="none where the labels lie in the world of the scan already")
    qsm_to_t1w = File(exists=True, desc="its inverse")
    atlas = File(exists=True, desc="where the labels are of one")
    atlas_to_anatomy = File(exists=True)
    anatomy_to_atlas = File(exists=True)
    threshold = traits.Float(mandatory=True, desc="share of a voxel that its region must fill")
    erosion = traits.Int(mandatory=True, desc="voxel layers eroded from every region")


class LabelScanOutputSpec(StepOutputSpec):
    """Outputs of `LabelScan`."""

    dseg = File(exists=True, desc="labels on the grid of the maps")


class LabelScan(Step):
    """Resample labels to the grid of the maps, with nuclei placed by chi."""

    input_spec, output_spec = LabelScanInputSpec, LabelScanOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the labels."""
        given = self.inputs
        labels = Image(load(given.labels).astype(np.int32), load_affine(given.labels))
        chi = load_image(given.chi)
        to_scan = Transform()
        if defined(given.t1w_to_qsm):
            to_scan = load_transform(Path(given.t1w_to_qsm), Path(given.qsm_to_t1w))
        atlas = load_saved_atlas(Path(given.atlas)) if defined(given.atlas) else None
        nuclei = self._nuclei(atlas, chi, to_scan) if atlas else None
        refinement = self._refinement(nuclei, chi) if nuclei else {}
        found = labels_on_scan(labels, to_scan, chi.grid, threshold=given.threshold, **refinement)
        self.save_maps({"dseg": erode_labels(found, given.erosion)}, chi.affine, folder)
        placements = nuclei.placements if nuclei else {}
        return {
            "placed_by_chi": nuclei is not None,
            "nuclei": {str(number): asdict(placement) for number, placement in placements.items()},
            "warnings": doubtful_nuclei(placements, nuclei.regions) if nuclei else [],
        }

    def _nuclei(self, atlas: Atlas, chi: Image, to_scan: Transform) -> NucleiOnScan | None:
        """Place the nuclei of an atlas by chi."""
        from qsmxt_app.segment.alignment import Alignment
        from qsmxt_app.segment.labelling import place_nuclei

        given = self.inputs
        to_t1w = load_transform(Path(given.atlas_to_anatomy), Path(given.anatomy_to_atlas))
        alignment = Alignment(to_scan.inverse(), "registration", 0.0, 0.0)
        return place_nuclei(atlas, to_t1w, alignment, chi, load_mask(given.mask))

    def _refinement(self, nuclei: NucleiOnScan, chi: Image) -> dict[str, Any]:
        """Return nuclei, their transform and the refinement of their borders, for `labels_on_scan`."""
        from qsmxt_app.segment.labelling import refine_nuclei_borders

        mask = load_mask(self.inputs.mask)
        return {
            "nuclei": nuclei.labels,
            "nuclei_to_scan": nuclei.transform,
            "refine_borders": refine_nuclei_borders(nuclei, chi, mask),
        }


def doubtful_nuclei(placements: Mapping[int, Placement], regions: Sequence[Region]) -> list[str]:
    """Return a warning that names the nuclei of whose place there is doubt, if there are any."""
    sides = {"L": "left ", "R": "right ", "": ""}
    named = [
        f"{sides[region.hemisphere]}{region.name.replace('-', ' ')} ({placements[region.index].warning})"
        for region in regions
        if region.index in placements and placements[region.index].warning
    ]
    return [f"Values of these nuclei are doubtful: {', '.join(named)}."] if named else []
