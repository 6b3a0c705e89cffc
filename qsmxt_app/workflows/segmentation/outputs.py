"""Labels, transforms and regional values on disk, with their sidecars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import bids_uri, derivative_path, image_sidecar, save_image
from qsmxt_app.registration import Image
from qsmxt_app.registration.label_resampling import resample_labels
from qsmxt_app.segment.nuclei_search import Placement
from qsmxt_app.segment.regions import read_regions
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_mask,
    read_json,
)
from qsmxt_app.workflows.nodes.inputs import image
from qsmxt_app.workflows.region_files import (
    MAP_TRAITS,
    quantitative_maps,
    save_labels,
    save_transforms,
    save_values,
)


class WriteLabelsInputSpec(StepInputSpec):
    """Inputs of both steps that write."""

    output_dir = traits.Str(mandatory=True)
    bids_dir = traits.Str(mandatory=True)
    source = traits.Str(mandatory=True, desc="where the labels come from")
    label = traits.Str(mandatory=True, desc="the same, as file names allow it")
    method = traits.Str(mandatory=True, desc="how they were made")
    regions = File(exists=True, mandatory=True, desc="their table")
    atlas_to_anatomy = File(exists=True)
    anatomy_to_atlas = File(exists=True)


class WriteT1wInputSpec(WriteLabelsInputSpec):
    """Inputs of `WriteT1w`."""

    t1w = image("without bias field")
    t1w_mask = image("the brain")
    labels = image("in their own space")
    raw = File(exists=True, mandatory=True, desc="the image that was labelled")
    entities = traits.Dict(mandatory=True, desc="of its name")


class WriteT1w(Step):
    """Write the derivatives of a T1w image: the image, brain mask, labels, and transforms to the atlas."""

    input_spec, output_spec = WriteT1wInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the images; the facts name them relative to the output folder."""
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        raw = bids_uri(Path(given.raw), Path(given.bids_dir))
        affine, entities = load_affine(given.t1w), dict(given.entities)
        in_space = {**entities, "space": "T1w"}
        told = {"Sources": [raw], "SpatialReference": raw}
        paths = {
            "t1w": derivative_path(output_dir, entities, "T1w", desc="preproc"),
            "t1w_mask": derivative_path(output_dir, in_space, "mask", desc="brain"),
            "dseg_t1w": derivative_path(output_dir, {**in_space, "seg": given.label}, "dseg"),
        }
        sidecar = image_sidecar(
            [raw],
            units="arbitrary",
            skull_stripped=False,
            algorithm="bias field correction (as N4, fitted inside the brain)",
        )
        save_image(load(given.t1w), affine, paths["t1w"], sidecar)
        save_image(load_mask(given.t1w_mask), affine, paths["t1w_mask"], {**told, "Type": "Brain"})
        labels = Image(load(given.labels).astype(np.int32), load_affine(given.labels))
        on_t1w = resample_labels(labels, Image(load(given.t1w), affine).grid).labels.array
        regions = read_regions(Path(given.regions))
        save_labels(on_t1w, affine, paths["dseg_t1w"], {**told, **how_labelled(given)}, regions)
        stem = _stem(paths["t1w"], "_desc-preproc_T1w")
        paths |= save_transforms(
            {
                "xfm_atlas_to_t1w": (given.atlas_to_anatomy, given.label, "T1w"),
                "xfm_t1w_to_atlas": (given.anatomy_to_atlas, "T1w", given.label),
            },
            paths["t1w"].parent,
            stem,
        )
        return {"outputs": {name: path.relative_to(output_dir).as_posix() for name, path in paths.items()}}


class _RegionsInputs(WriteLabelsInputSpec):
    acquisition = traits.Instance(Acquisition, mandatory=True, nohash=True, desc="whose regions they are")
    description = traits.Str(mandatory=True, desc="what of the acquisition the result depends on")
    t1w_name = traits.Str(desc="raw image that was labelled; none where it was the magnitude")
    dseg = image("labels on the grid of the maps")
    mask = image("where chi is reported")
    combine_facts = File(exists=True, mandatory=True, desc="what chi is relative to")
    label_facts = File(exists=True, desc="what chi shows of nuclei")
    threshold = traits.Float(mandatory=True)
    erosion = traits.Int(mandatory=True)
    qsm_to_t1w = File(exists=True)
    t1w_to_qsm = File(exists=True)
    magnitude_in_t1w = File(exists=True)


# pickle finds the class by the name of its module
WriteRegionsInputSpec: Any = type(
    "WriteRegionsInputSpec", (_RegionsInputs,), {"__module__": __name__} | MAP_TRAITS
)


class WriteRegions(Step):
    """Write the labels of a scan, regional values, and transforms to the T1w image."""

    input_spec, output_spec = WriteRegionsInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save labels, table and transforms; the facts name them relative to the output folder."""
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        entities = given.acquisition.output_entities
        paths = {
            "dseg": derivative_path(output_dir, {**entities, "seg": given.label}, "dseg"),
            "stats": derivative_path(output_dir, entities, "stats", desc="qsm", extension=".tsv"),
        }
        labels, affine = load(given.dseg).astype(np.int32), load_affine(given.dseg)
        regions = read_regions(Path(given.regions))
        save_labels(labels, affine, paths["dseg"], self._sidecar(), regions)
        reference = str(read_json(Path(given.combine_facts)).get("reference", ""))
        save_values(
            labels,
            affine,
            paths["stats"],
            regions,
            quantitative_maps(given, load_mask(given.mask), reference),
            atlas=given.source,
            sources=self._sources(),
            doubts=self._doubts(),
        )
        paths |= self._transforms(paths["dseg"].parent)
        if defined(given.magnitude_in_t1w):
            paths["magnitude_in_t1w"] = derivative_path(
                output_dir, {**entities, "space": "T1w"}, "magnitude", datatype="figures"
            )
            save_image(
                load(given.magnitude_in_t1w), load_affine(given.magnitude_in_t1w), paths["magnitude_in_t1w"]
            )
        return {"outputs": {name: path.relative_to(output_dir).as_posix() for name, path in paths.items()}}

    def _doubts(self) -> dict[int, str]:
        """Return why nuclei that were placed by chi may be misplaced."""
        if not defined(self.inputs.label_facts):
            return {}
        placements = read_json(Path(self.inputs.label_facts)).get("nuclei", {})
        found = {int(number): Placement(**placement).warning for number, placement in placements.items()}
        return {number: doubt for number, doubt in found.items() if doubt}

    def _sources(self) -> list[str]:
        given = self.inputs
        files = [str(file) for file in given.acquisition.files]
        files += [given.t1w_name] if defined(given.t1w_name) else []
        return sorted(bids_uri(Path(file), Path(given.bids_dir)) for file in files)

    def _sidecar(self) -> dict[str, Any]:
        given = self.inputs
        return {
            "Sources": self._sources(),
            **how_labelled(given),
            "PartialVolumeThreshold": given.threshold,
            "ErodedLayers": given.erosion,
        }

    def _transforms(self, folder: Path) -> dict[str, Path]:
        given = self.inputs
        files = {
            "xfm_qsm_to_t1w": (given.qsm_to_t1w, "QSM", "T1w"),
            "xfm_t1w_to_qsm": (given.t1w_to_qsm, "T1w", "QSM"),
            "xfm_atlas_to_qsm": (given.atlas_to_anatomy, given.label, "QSM"),
            "xfm_qsm_to_atlas": (given.anatomy_to_atlas, "QSM", given.label),
        }
        return save_transforms(files, folder, given.acquisition.stem)


def _stem(path: Path, end: str = "") -> str:
    return path.name.split(".")[0].removesuffix(end)


def how_labelled(given: Any) -> dict[str, Any]:
    """Return what a sidecar tells of the labels that a step writes."""
    return {"Atlas": given.source, "SegmentationMethod": given.method, "Manual": False}
