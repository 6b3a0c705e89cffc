"""Maps and labels of a scan in the space of the T1w image and in that of the atlas's template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import bids_uri, derivative_path, image_sidecar, save_image
from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.registration import Grid, Image, Transform, load_transform
from qsmxt_app.registration.label_resampling import resample_labels
from qsmxt_app.registration.masked_resampling import resample_in_mask, resample_mask
from qsmxt_app.segment.regions import read_regions
from qsmxt_app.segment.saved_atlas import load_saved_atlas
from qsmxt_app.settings import T1W_SPACE
from qsmxt_app.workflows.node_base import Step, StepOutputSpec, defined, load_affine, load_image, load_mask
from qsmxt_app.workflows.nodes.inputs import image
from qsmxt_app.workflows.outputs import output_path
from qsmxt_app.workflows.region_files import MAP_TRAITS, save_labels
from qsmxt_app.workflows.segmentation.outputs import WriteLabelsInputSpec, how_labelled

INTERPOLATION = "cubic spline inside the mask"


class _SpacesInputs(WriteLabelsInputSpec):
    acquisition = traits.Instance(Acquisition, mandatory=True, nohash=True, desc="whose maps they are")
    description = traits.Str(mandatory=True, desc="what of the acquisition the result depends on")
    spaces = traits.List(traits.Str(), mandatory=True, desc="which of T1w and template")
    dseg = image("labels on the grid of the maps")
    mask = image("where chi is reported")
    raw = traits.Str(desc="the T1w; none where the magnitude was labelled")
    t1w = File(exists=True, desc="without bias field; gives the grid")
    atlas = File(exists=True, desc="as `PrepareT1w` saved it; gives the grid of the template")
    qsm_to_t1w = File(exists=True)
    t1w_to_qsm = File(exists=True)


# pickle finds the class by the name of its module
WriteSpacesInputSpec: Any = type(
    "WriteSpacesInputSpec", (_SpacesInputs,), {"__module__": __name__} | MAP_TRAITS
)


class WriteSpaces(Step):
    """Write the maps of a scan, their mask and labels in other spaces."""

    input_spec, output_spec = WriteSpacesInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the images; the facts name them relative to the output folder."""
        written: dict[str, Path] = {}
        for space in self.inputs.spaces:
            grid, to_space, name, reference = self._t1w() if space == T1W_SPACE else self._template()
            told = {"SpatialReference": reference}
            for key, path in self._written(grid, to_space, name, told):
                written[f"{key}_in_{space.lower()}"] = path
        output_dir = Path(self.inputs.output_dir)
        return {"outputs": {name: path.relative_to(output_dir).as_posix() for name, path in written.items()}}

    def _t1w(self) -> tuple[Grid, Transform, str, str]:
        """Return the grid, the way there, the BIDS name and the reference of the space of the T1w."""
        given = self.inputs
        reference = bids_uri(Path(given.raw), Path(given.bids_dir))
        return load_image(given.t1w).grid, self._to_anatomy(), T1W_SPACE, reference

    def _template(self) -> tuple[Grid, Transform, str, str]:
        """Return the same of the space of the template."""
        given = self.inputs
        atlas = load_saved_atlas(Path(given.atlas))
        to_atlas = load_transform(Path(given.anatomy_to_atlas), Path(given.atlas_to_anatomy))
        name = atlas.space or atlas.name
        return atlas.t1w.grid, self._to_anatomy().then(to_atlas), name, atlas.reference

    def _to_anatomy(self) -> Transform:
        """Return the way from the maps to the image that was labelled: none where that is the magnitude."""
        given = self.inputs
        if not defined(given.qsm_to_t1w):
            return Transform()
        return load_transform(Path(given.qsm_to_t1w), Path(given.t1w_to_qsm))

    def _written(
        self, grid: Grid, to_space: Transform, space: str, told: dict[str, Any]
    ) -> Iterator[tuple[str, Path]]:
        """Write everything in one space; yield keys and paths."""
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        entities = {**given.acquisition.output_entities, "space": space}
        mask = Image(load_mask(given.mask), load_affine(given.mask))
        for name, output in MEASURED.items():
            if not (file := defined(getattr(given, name))):
                continue
            found = resample_in_mask(load_image(file), mask, grid, to_space)
            native = output_path(output_dir, given.acquisition, output)
            sidecar = image_sidecar(
                [bids_uri(native, output_dir, "")],
                units=output.units,
                skull_stripped=False,
                parameters={**told, "Interpolation": INTERPOLATION},
            )
            path = derivative_path(
                output_dir, entities, output.suffix, desc=output.desc, datatype=output.datatype
            )
            yield name, save_image(found.array, grid.affine, path, sidecar)
        path = derivative_path(output_dir, entities, "mask", desc="qsm")
        kept = resample_mask(mask, grid, to_space).array
        sources = [bids_uri(path.with_name(path.name.replace(f"_space-{space}", "")), output_dir, "")]
        yield "mask", save_image(kept, grid.affine, path, {"Sources": sources, **told, "Type": "ROI"})
        labels = load_image(given.dseg)
        labels = labels.with_array(labels.array.astype(np.int32))
        moved = resample_labels(labels, grid, to_space).labels.array
        path = derivative_path(output_dir, {**entities, "seg": given.label}, "dseg", desc="qsm")
        native = derivative_path(
            output_dir, {**given.acquisition.output_entities, "seg": given.label}, "dseg"
        )
        sidecar = {"Sources": [bids_uri(native, output_dir, "")], **told, **how_labelled(given)}
        save_labels(moved, grid.affine, path, sidecar, read_regions(Path(given.regions)))
        yield "dseg", path
