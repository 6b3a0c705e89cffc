"""Labels of an anatomical image: the T1w of one or several scans, or a magnitude that stands in for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.headers import read_header
from qsmxt_app.errors import UnusableData
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.registration import Image, Transform, extension, load_transform, save_transform
from qsmxt_app.segment.existing_labels import ExistingLabels, load_labels
from qsmxt_app.segment.prepare import PreparedT1w
from qsmxt_app.segment.regions import regions_table
from qsmxt_app.segment.saved_atlas import save_atlas
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

LEAST_INSIDE, FEW_INSIDE = 0.6, 0.85
"""Share of the labelled voxels inside the brain below which labels are refused, and doubted."""


def load_prepared(t1w: str, mask: str, atlas_affine: str | None = None) -> PreparedT1w:
    """Load what `PrepareT1w` saved."""
    from_atlas = load_transform(Path(atlas_affine)) if atlas_affine else Transform()
    image = load_image(t1w)
    return PreparedT1w(image, load_mask(mask), from_atlas, had_skull=True)


def save_with_inverse(step: Step, transform: Transform, there: str, back: str, folder: Path) -> None:
    """Save a transform and its inverse as two outputs of a step."""
    for name, one in ((there, transform), (back, transform.inverse())):
        step._results[name] = str(save_transform(one, folder / f"{name}{extension(one)}"))


class PrepareInputSpec(StepInputSpec):
    """Inputs of `PrepareT1w`."""

    t1w = File(exists=True, desc="the raw image")
    magnitude = File(exists=True, desc="all echoes, where there is no T1w")
    atlas = traits.Str(mandatory=True, desc="name or folder of the atlas that finds the brain")
    atlas_files = traits.List(File(exists=True), desc="those of the folder, for the cache")


class PrepareOutputSpec(StepOutputSpec):
    """Outputs of `PrepareT1w`."""

    t1w = File(exists=True, desc="without bias field")
    t1w_mask = File(exists=True, desc="the brain")
    atlas = File(exists=True, desc="the atlas, for the steps that follow")
    atlas_affine = File(exists=True, desc="from it to the image")


class PrepareT1w(Step):
    """Extract the brain and correct the bias field."""

    input_spec, output_spec = PrepareInputSpec, PrepareOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the corrected image and the brain's mask."""
        from qsmxt_app.segment.atlas_loading import load_atlas
        from qsmxt_app.segment.prepare import prepare_t1w

        given = self.inputs
        raw = _read_t1w(Path(given.t1w)) if defined(given.t1w) else _combined(given.magnitude)
        atlas = load_atlas(given.atlas)
        prepared = prepare_t1w(raw, atlas)
        self._results["atlas"] = str(save_atlas(atlas, folder / "atlas"))
        affine = prepared.t1w.affine
        self.save_maps({"t1w": prepared.t1w.array, "t1w_mask": prepared.brain}, affine, folder)
        self._results["atlas_affine"] = str(save_transform(prepared.from_atlas, folder / "atlas_affine.txt"))
        facts = {"atlas": atlas.name, "atlas_sources": list(atlas.sources)}
        return facts | {"had_skull": prepared.had_skull, "warnings": list(prepared.warnings)}


def _read_t1w(path: Path) -> Image:
    header = read_header(path)
    if len(header.shape) > 3:
        raise UnusableData(f"{path}: {header.shape[3]} volumes instead of one.", "Keep one of them.")
    return Image(read_image(path).reshape(header.shape), header.affine)


def _combined(magnitude: str) -> Image:
    return Image(combine_magnitude(load(magnitude)), load_affine(magnitude))


class LabelInputSpec(StepInputSpec):
    """Inputs of steps that label an anatomical image."""

    t1w = image("without bias field")
    t1w_mask = image("the brain")


class LabelOutputSpec(StepOutputSpec):
    """Outputs of steps that label an anatomical image."""

    labels = File(exists=True, desc="in their own space, in the world of the T1w")
    regions = File(exists=True, desc="their table")


class UseExistingLabels(Step):
    """Use the labels of another program."""

    class _InputSpec(LabelInputSpec):
        existing = File(exists=True, mandatory=True, desc="label image")
        table = File(exists=True, desc="its table; none where the numbers are FreeSurfer's")

    input_spec, output_spec = _InputSpec, LabelOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the labels, if they lie in this brain."""
        given = self.inputs
        table = Path(given.table) if defined(given.table) else None
        labels, regions = load_labels(ExistingLabels(Path(given.existing), table, ""))
        inside = fraction_inside(labels, Image(load_mask(given.t1w_mask), load_affine(given.t1w_mask)))
        if inside < LEAST_INSIDE:
            raise UnusableData(
                f"{given.existing}: only {inside:.0%} of its labelled voxels lie in the brain of the T1w.",
                "Use the T1w that was labelled.",
            )
        save_labels(self, labels, regions_table(regions), folder)
        warning = (
            f"only {inside:.0%} of the labelled voxels of {Path(given.existing).name} lie in the T1w's brain"
        )
        return {"inside": inside, "warnings": [warning] if inside < FEW_INSIDE else []}


class LabelByNetwork(Step):
    """Label the T1w by a network."""

    class _InputSpec(LabelInputSpec):
        model = traits.Str(mandatory=True, desc="ONNX file, or folder of a MeshNet")
        files = traits.List(File(exists=True), mandatory=True, desc="those of the network, for the cache")

    input_spec, output_spec = _InputSpec, LabelOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the labels on the grid of the network."""
        from qsmxt_app.segment.network import label_by_network
        from qsmxt_app.segment.network_files import load_network

        given = self.inputs
        labels, regions = label_by_network(
            load_image(given.t1w),
            load_mask(given.t1w_mask),
            load_network(Path(given.model)),
            threads=given.num_threads,
        )
        save_labels(self, labels, regions_table(regions), folder)
        return {}


def save_labels(step: Step, labels: Image, table: str, folder: Path) -> None:
    """Save labels and their table as the outputs of a step."""
    step.save_maps({"labels": labels.array}, labels.affine, folder)
    (folder / "regions.tsv").write_text(table, encoding="utf-8")
    step._results["regions"] = str(folder / "regions.tsv")


def fraction_inside(labels: Image, brain: Image) -> float:
    """Return the share of the labelled voxels whose centres lie in a mask elsewhere in the same world."""
    points = np.argwhere(labels.array > 0) @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    to_index = np.linalg.inv(brain.affine)
    index = np.rint(points @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
    within = np.all((index >= 0) & (index < brain.array.shape), axis=1)
    hits = np.count_nonzero(brain.array[tuple(index[within].T)])
    return hits / max(1, len(points))
