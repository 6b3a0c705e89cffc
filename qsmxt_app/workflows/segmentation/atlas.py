"""Labels of an atlas on an anatomical image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.registration import load_transform
from qsmxt_app.registration.deformable import METHODS
from qsmxt_app.segment.regions import regions_table
from qsmxt_app.segment.saved_atlas import load_saved_atlas
from qsmxt_app.workflows.node_base import Step, StepOutputSpec
from qsmxt_app.workflows.segmentation.t1w import (
    LabelInputSpec,
    LabelOutputSpec,
    load_prepared,
    save_labels,
    save_with_inverse,
)


class RegisterInputSpec(LabelInputSpec):
    """Inputs of `RegisterAtlas`."""

    atlas = File(exists=True, mandatory=True, desc="as `PrepareT1w` saved it")
    atlas_affine = File(exists=True, mandatory=True, desc="from the atlas to the image, to start from")
    method = traits.Enum(*METHODS, usedefault=True, desc="of the deformable registration")


class RegisterOutputSpec(StepOutputSpec):
    """Outputs of `RegisterAtlas`."""

    atlas_to_anatomy = File(exists=True)
    anatomy_to_atlas = File(exists=True)


class RegisterAtlas(Step):
    """Register the atlas to the anatomical image, with a deformation."""

    input_spec, output_spec = RegisterInputSpec, RegisterOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform and its inverse."""
        from qsmxt_app.segment.labelling import atlas_to_t1w

        given = self.inputs
        prepared = load_prepared(given.t1w, given.t1w_mask, given.atlas_affine)
        found = atlas_to_t1w(load_saved_atlas(Path(given.atlas)), prepared, method=given.method)
        save_with_inverse(self, found, "atlas_to_anatomy", "anatomy_to_atlas", folder)
        return {}


class LabelByAtlasInputSpec(LabelInputSpec):
    """Inputs of `LabelByAtlas`."""

    atlas = File(exists=True, mandatory=True, desc="as `PrepareT1w` saved it")
    atlas_to_anatomy = File(exists=True, mandatory=True)
    anatomy_to_atlas = File(exists=True, mandatory=True)


class LabelByAtlas(Step):
    """Give the anatomical image the labels of the atlas, each within its tissue."""

    input_spec, output_spec = LabelByAtlasInputSpec, LabelOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save labels and table."""
        from qsmxt_app.segment.labelling import label_t1w

        given = self.inputs
        atlas = load_saved_atlas(Path(given.atlas))
        transform = load_transform(Path(given.atlas_to_anatomy), Path(given.anatomy_to_atlas))
        found = label_t1w(atlas, transform, load_prepared(given.t1w, given.t1w_mask))
        save_labels(self, found.labels, regions_table(atlas.regions), folder)
        return {}
