"""The step that reads values in a custom segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.bids.derivatives import bids_uri, derivative_path, sidecar_path
from qsmxt_app.group.volume_preserving_resampling import resample_preserving_volume
from qsmxt_app.registration import Image
from qsmxt_app.segment.regional_values import erode_labels
from qsmxt_app.segment.regions import Region
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    load_image,
    load_mask,
    read_json,
)
from qsmxt_app.workflows.region_files import MAP_TRAITS, quantitative_maps, save_labels, save_values
from qsmxt_app.workflows.study_level.maps import load_chain


class _CustomInputs(StepInputSpec):
    labels = File(exists=True, mandatory=True)
    regions = traits.List(traits.Dict(), mandatory=True)
    atlas = traits.Str(mandatory=True)
    transforms = traits.List(File(exists=True), mandatory=True, desc="from their space to the scan")
    inverse_transforms = traits.List(File(exists=True), mandatory=True)
    mask = File(exists=True, mandatory=True)
    erode = traits.Int(mandatory=True)
    output_dir = traits.Str(mandatory=True)
    stem = traits.Str(mandatory=True)
    entities = traits.Dict(mandatory=True)


# pickle finds the class by the name of its module
MeasureCustomSegmentationInputSpec: Any = type(
    "MeasureCustomSegmentationInputSpec", (_CustomInputs,), {"__module__": __name__} | MAP_TRAITS
)


class MeasureCustomSegmentationOutputSpec(StepOutputSpec):
    """Outputs of `MeasureCustomSegmentation`."""

    stats = File(exists=True)


class MeasureCustomSegmentation(Step):
    """Resample custom labels to a scan, once, and read the values of its maps there."""

    input_spec, output_spec = MeasureCustomSegmentationInputSpec, MeasureCustomSegmentationOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write the labels on the scan's grid, their table, and their values."""
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        regions = [Region(**region) for region in given.regions]
        chi = load_image(given.chi)
        source = load_image(given.labels)
        custom = Image(np.rint(source.array).astype(np.int32), source.affine)
        warped = resample_preserving_volume(
            custom, chi.grid, load_chain(given.transforms, given.inverse_transforms)
        )
        labels = erode_labels(warped, given.erode)
        path = derivative_path(output_dir, {**given.entities, "seg": given.atlas}, "dseg")
        sources = [bids_uri(Path(given.chi), output_dir, "")]
        sidecar = {
            "Sources": sources,
            "Description": "custom segmentation, resampled with the volume of each label preserved",
            "Manual": True,
            "ErodedLayers": given.erode,
        }
        table = save_labels(labels, chi.affine, path, sidecar, regions)
        stats = path.with_name(f"{given.stem}_seg-{given.atlas}_desc-qsm_stats.tsv")
        reference = str(read_json(sidecar_path(Path(given.chi))).get("Reference", ""))
        maps = quantitative_maps(given, load_mask(given.mask), reference)
        save_values(labels, chi.affine, stats, regions, maps, atlas=given.atlas, sources=sources)
        self._results["stats"] = str(stats)
        written = [file.relative_to(output_dir).as_posix() for file in (path, table, stats)]
        return {"outputs": written}
