"""How brain regions are segmented, and how regional values are extracted."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Segmentation and regional values")
DEFAULT_ATLAS = "qsmxt"
NATIVE_SPACE, T1W_SPACE, TEMPLATE_SPACE = "native", "T1w", "template"


@dataclass(frozen=True)
class SegmentationSettings:
    """How brain regions are segmented, and how regional values are extracted."""

    segmentation: str = setting(
        "atlas",
        "segmentation method: atlas (registered to the T1w image), meshnet (a network: --model), none",
        choices=("atlas", "meshnet", "none"),
    )
    atlas: str = setting(
        DEFAULT_ATLAS,
        "atlas: folder with T1w, dseg and its table, TEMPLATE:ATLAS, or a name",
        metavar="NAME|DIR",
    )
    derivatives: tuple[Path, ...] = setting(
        (),
        "folders of FreeSurfer, FastSurfer, SynthSeg or fMRIPrep with existing segmentations to use instead",
        metavar="DIR",
        kind="folder",
        aliases=("fs-subjects-dir",),
    )
    model: Path | None = setting(
        None, "network: FILE.onnx beside its FILE.toml, or the folder of a MeshNet", metavar="FILE|DIR"
    )
    registration: str = setting(
        "greedy",
        "deformable registration of atlas and template: greedy, or syn (needs ANTs; several times slower)",
        choices=("greedy", "syn"),
    )
    output_spaces: tuple[str, ...] = setting(
        (NATIVE_SPACE,),
        "spaces of maps and labels: native (always written), T1w, template (of the atlas)",
        choices=(NATIVE_SPACE, T1W_SPACE, TEMPLATE_SPACE),
    )
    roi_threshold: float = setting(
        0.5, "minimum fraction of a voxel inside a region for the voxel to count", metavar="X", least=0.0
    )
    roi_erode: int = setting(
        0, "number of voxels to erode regions by before extracting values", metavar="N", least=0
    )
