"""What was done with all participants of a study, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qsmxt_app.records.json_file import UnreadableRecord, from_json, read_json_file
from qsmxt_app.records.scan import StepError

VERSION = 2
GROUP_RECORD = Path("figures") / "group_desc-qsm_record.json"


@dataclass(frozen=True)
class Round:
    """A deformable round: relative change of the template, and the size of the shape update in mm."""

    change: float | None = None
    shape_update_mm: float | None = None


@dataclass(frozen=True)
class TemplateResult:
    """How the template was made.

    Attributes
    ----------
    existing
        Its folder, where it was given.
    participants
        Names of the scans of each.
    channels
        Images that were registered.
    ended
        Why the rounds ended, in words.
    """

    name: str
    existing: str = ""
    participants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    voxel_size: tuple[float, ...] = ()
    rounds: tuple[Round, ...] = ()
    tolerance: float | None = None
    ended: str = ""


@dataclass(frozen=True)
class MissingScan:
    """A participant, or a scan of one, that takes no part, and why; `log` as in `StepError`."""

    participant: str
    scan: str
    reason: str
    log: str = ""


@dataclass(frozen=True)
class Inconsistency:
    """Something in which scans differ and should not: what it is, and who has what, in words."""

    what: str
    who: str


@dataclass(frozen=True)
class RegionalModel:
    """How regional values were compared; the estimates are in `table`.

    Attributes
    ----------
    formula, measure, value, correction, doubtful
        What was asked for.
    table
        File with a row for every region and coefficient, relative to the output folder.
    units
        Of the estimates.
    effects
        Coefficients but the intercept.
    differing
        Regions in which each is significant after correction.
    regions
        Number of regions that were fitted.
    mixed
        Whether participants have a random intercept.
    references, centres
        Reference level of each variable of words, and mean of each variable of numbers.
    group_sizes
        Participants of each level.
    not_fitted
        Regions without a model, and why.
    """

    formula: str
    measure: str = ""
    value: str = ""
    correction: str = ""
    doubtful: str = ""
    table: str = ""
    units: str = ""
    effects: tuple[str, ...] = ()
    differing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    regions: int = 0
    scans: int = 0
    participants: int = 0
    mixed: bool = False
    references: dict[str, str] = field(default_factory=dict)
    centres: dict[str, float] = field(default_factory=dict)
    group_sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    not_fitted: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class VoxelwiseModel:
    """How participants were compared voxel by voxel, by the formula of the regional model.

    Attributes
    ----------
    table
        File with a row for every cluster, relative to the output folder.
    maps
        Files of estimates, t and p.
    clusters
        Number of clusters of each effect.
    fwhm_mm
        Of the smoothing.
    voxel_size
        mm, of the voxels that were tested.
    share_of_brain
        Share of the template's brain in which all participants have a map.
    """

    table: str
    maps: tuple[str, ...] = ()
    clusters: dict[str, int] = field(default_factory=dict)
    participants: int = 0
    permutations: int = 0
    fwhm_mm: float = 0.0
    voxel_size: tuple[float, ...] = ()
    voxels: int = 0
    share_of_brain: float = 1.0


@dataclass(frozen=True, kw_only=True)
class GroupRecord:
    """What was done with all participants.

    Attributes
    ----------
    template, model, voxelwise
        None where none was made.
    group_by, groups
        Column of participants.tsv by which pages group participants, and what it says of each.
    outputs
        Files by kind; `similarity` holds how similar each scan is to the template.
    """

    version: int = VERSION
    status: Literal["", "done", "failed"] = ""
    template: TemplateResult | None = None
    model: RegionalModel | None = None
    voxelwise: VoxelwiseModel | None = None
    missing: tuple[MissingScan, ...] = ()
    inconsistent_settings: tuple[Inconsistency, ...] = ()
    failures: tuple[StepError, ...] = ()
    outputs: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    group_by: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    command: str = ""
    log: str = ""


def read_group_record(output_dir: Path) -> GroupRecord | None:
    """Read the record of the group level; None where the group level has not been run.

    A file that cannot be understood gives a failed record that says so.
    """
    path = output_dir / GROUP_RECORD
    if not path.exists():
        return None
    try:
        return from_json(read_json_file(path), GroupRecord, VERSION, _from_version_1)
    except UnreadableRecord as error:
        message = f"{path.name} cannot be read ({error}). Run the group level again."
        return GroupRecord(status="failed", failures=(StepError("report", message),))


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called inconsistent settings `mixtures`, and wrote an empty object for no template."""
    return {
        **content,
        "version": VERSION,
        "template": content.get("template") or None,
        "inconsistent_settings": content.get("inconsistent_settings", content.get("mixtures", ())),
    }
