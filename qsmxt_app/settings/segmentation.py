"""Where the labels of brain regions come from, and how values are read from them."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Regions of the brain and their values")
DEFAULT_ATLAS = "qsmxt"


@dataclass(frozen=True)
class SegmentationSettings:
    """Where the labels of brain regions come from, and how values are read from them."""

    segmentation: str = setting(
        "atlas",
        "how regions are labelled: atlas (registered to the T1w), meshnet (a network: --model), none",
        choices=("atlas", "meshnet", "none"),
    )
    atlas: str = setting(
        DEFAULT_ATLAS, "folder with T1w, dseg and its table, TEMPLATE:ATLAS, or a name", metavar="NAME|DIR"
    )
    derivatives: tuple[Path, ...] = setting(
        (),
        "folders of FreeSurfer, FastSurfer, SynthSeg or fMRIPrep whose labels are used instead",
        metavar="DIR",
        kind="folder",
        aliases=("fs-subjects-dir",),
    )
    model: Path | None = setting(
        None, "network: FILE.onnx beside its FILE.toml, or the folder of a MeshNet", metavar="FILE|DIR"
    )
    roi_threshold: float = setting(
        0.5, "share of a voxel that a region must fill, to count it", metavar="X", least=0.0
    )
    roi_erode: int = setting(0, "voxel layers taken off every region", metavar="N", least=0)
