"""What the group level makes of all participants."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Group level")


@dataclass(frozen=True)
class GroupSettings:
    """What the group level makes of all participants."""

    template: bool = setting(True, "build a template and average maps; --no-template: only the tables")
    template_name: str | None = setting(
        None,
        "name of the template: letters and digits (default: study, or that of --template-from)",
        metavar="NAME",
    )
    template_resolution: float | None = setting(
        None, "voxel edge of the template (default: as the scans)", metavar="MM", least=0.2
    )
    template_from: Path | None = setting(
        None,
        "folder of a template to bring everybody to, instead of building one",
        metavar="DIR",
        kind="folder",
    )
    template_rounds: int = setting(6, "most deformable rounds of the template", metavar="N", least=0)
    template_tolerance: float = setting(
        0.05, "relative change of the template at which its rounds stop", metavar="X", least=0.0
    )
    custom_dseg: Path | None = setting(
        None,
        "labels drawn on the template or on one participant, measured in everybody",
        kind="file",
    )
    custom_labels: Path | None = setting(
        None, "names of these labels: a BIDS .tsv, or a label file of ITK-SNAP", kind="file"
    )
    custom_space: str | None = setting(
        None,
        "where they were drawn: template, or a scan such as sub-01 or sub-01_ses-A (default: by their grid)",
        metavar="SPACE",
    )
    group_by: str | None = setting(
        None, "column of participants.tsv by which the report splits the regional values", metavar="COLUMN"
    )
