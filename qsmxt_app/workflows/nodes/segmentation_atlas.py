"""Labels of an atlas on an anatomical image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from qsmxt_app.registration import Image, load_transform
from qsmxt_app.segment.regions import regions_table
from qsmxt_app.workflows.node_base import Step, StepOutputSpec, load, load_affine, load_mask
from qsmxt_app.workflows.nodes.segmentation_scan import save_both_ways
from qsmxt_app.workflows.nodes.segmentation_t1w import LabelInputSpec, LabelOutputSpec, save_labels


class AtlasInputSpec(LabelInputSpec):
    """Inputs of both steps."""

    atlas = traits.Str(mandatory=True, desc="name or folder")


class RegisterOutputSpec(StepOutputSpec):
    """Outputs of `RegisterAtlas`."""

    atlas_to_anatomy = File(exists=True)
    anatomy_to_atlas = File(exists=True)


class RegisterAtlas(Step):
    """Bring the atlas to the anatomical image."""

    input_spec, output_spec = AtlasInputSpec, RegisterOutputSpec
    code = ("qsmxt_app.registration",)

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the transform both ways."""
        from qsmxt_app.segment.atlas import load_atlas
        from qsmxt_app.segment.atlas_registration import atlas_to_t1w

        atlas, prepared = load_atlas(self.inputs.atlas), _prepared(self.inputs)
        save_both_ways(self, atlas_to_t1w(atlas, prepared), "atlas_to_anatomy", "anatomy_to_atlas", folder)
        return {}


class LabelByAtlasInputSpec(AtlasInputSpec):
    """Inputs of `LabelByAtlas`."""

    atlas_to_anatomy = File(exists=True, mandatory=True)
    anatomy_to_atlas = File(exists=True, mandatory=True)


class LabelByAtlas(Step):
    """Give the anatomical image the labels of the atlas, each within its tissue."""

    input_spec, output_spec = LabelByAtlasInputSpec, LabelOutputSpec
    code = ("qsmxt_app.segment.regions",)

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save labels and table."""
        from qsmxt_app.segment.atlas import load_atlas
        from qsmxt_app.segment.atlas_labels import label_t1w

        given = self.inputs
        transform = load_transform(Path(given.atlas_to_anatomy), Path(given.anatomy_to_atlas))
        found = label_t1w(load_atlas(given.atlas), transform, _prepared(given))
        save_labels(self, found.labels, regions_table(found.regions), folder)
        return {}


def _prepared(given: Any) -> Any:
    from qsmxt_app.segment.t1w import PreparedT1w

    t1w = Image(load(given.t1w), load_affine(given.t1w))
    return PreparedT1w(t1w, load_mask(given.t1w_mask), ())
