"""What the group level computes over all participants."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Group level")


@dataclass(frozen=True)
class GroupSettings:
    """What the group level computes over all participants."""

    template: bool = setting(True, "build a study template and average maps; --no-template: tables only")
    template_name: str | None = setting(
        None,
        "name of the template: letters and digits (default: study, or that of --template-from)",
        metavar="NAME",
    )
    template_resolution: float | None = setting(
        None, "voxel size of the template (default: that of the scans)", metavar="MM", least=0.2
    )
    template_from: Path | None = setting(
        None,
        "folder of an existing template to register participants to, instead of building one",
        metavar="DIR",
        kind="folder",
    )
    template_rounds: int = setting(
        6, "maximum number of deformable iterations of the template", metavar="N", least=0
    )
    template_tolerance: float = setting(
        0.05, "relative change of the template below which iterations stop", metavar="X", least=0.0
    )
    custom_dseg: Path | None = setting(
        None,
        "custom segmentation in the space of the template or of one participant; "
        "values are extracted for all participants",
        kind="file",
    )
    custom_labels: Path | None = setting(
        None, "names of its labels: a BIDS .tsv, or an ITK-SNAP label file", kind="file"
    )
    custom_space: str | None = setting(
        None,
        "its space: template, or a scan such as sub-01 or sub-01_ses-A (default: the one with the same grid)",
        metavar="SPACE",
    )
    exclude_rated: str | None = setting(
        None,
        "leave out scans that somebody rated on their pages: bad, or doubtful (and bad)",
        choices=("bad", "doubtful"),
    )
    ratings: Path | None = setting(
        None,
        "table of ratings, or folder of tables, as the pages save them (default: OUTPUT_DIR/ratings)",
        metavar="FILE|DIR",
    )
    group_by: str | None = setting(
        None,
        "column of participants.tsv by which pages group participants (default: group, if there is one)",
        metavar="COLUMN",
    )
    model_formula: str | None = setting(
        None,
        "compare regional values by a linear model, such as 'chi ~ group + age + sex': a map, and columns of "
        "participants.tsv or sessions.tsv with +, :, * and brackets; at the group level also --model FORMULA",
        metavar="FORMULA",
    )
    model_correction: str = setting(
        "fdr",
        "correction of p values over regions: false discovery rate, or family-wise error",
        choices=("fdr", "holm", "bonferroni"),
    )
    model_value: str = setting("mean", "value of a region that is compared", choices=("mean", "median"))
    model_doubtful: str = setting(
        "exclude", "what is done with regional values marked as doubtful", choices=("exclude", "include")
    )
    model_voxelwise: bool = setting(
        False, "compare the maps voxel by voxel in the template, too (permutations, TFCE, family-wise error)"
    )
    model_permutations: int = setting(
        1000, "number of permutations of each term of the voxel-wise model", metavar="N", least=20
    )
    model_smoothing: float = setting(
        4.0, "full width at half maximum of the smoothing before them", metavar="MM", least=0.0
    )
