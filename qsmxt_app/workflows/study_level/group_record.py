"""The record of the group level: what its report and later readers need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmxt_app.bids.headers import read_header
from qsmxt_app.group.inconsistent_settings import InconsistentSetting
from qsmxt_app.records.group import (
    GROUP_RECORD,
    GroupRecord,
    Inconsistency,
    MissingScan,
    RegionalModel,
    Round,
    TemplateResult,
    VoxelwiseModel,
)
from qsmxt_app.records.json_file import write_record
from qsmxt_app.records.scan import StepError
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.software import software_versions
from qsmxt_app.workflows.study_level.study import BuiltTemplate, Person


@dataclass(frozen=True)
class GroupResult:
    """How the group level ended."""

    plan_name: str
    existing: Path | None
    people: tuple[Person, ...]
    template: BuiltTemplate | None
    model: RegionalModel | None
    voxelwise: VoxelwiseModel | None
    missing: tuple[MissingScan, ...]
    inconsistent_settings: tuple[InconsistentSetting, ...]
    failures: Mapping[str, str]
    outputs: Mapping[str, Any]
    timings: Mapping[str, float]
    memory_mb: Mapping[str, float]
    group_by: str
    groups: Mapping[str, str]


def write_group_record(
    result: GroupResult, output_dir: Path, settings: Settings, command: str, log: str
) -> Path:
    """Write the record, complete or not at all."""
    record = GroupRecord(
        status="failed" if result.failures else "done",
        template=_template(result, settings),
        model=result.model,
        voxelwise=result.voxelwise,
        missing=result.missing,
        inconsistent_settings=tuple(Inconsistency(one.what, one.who) for one in result.inconsistent_settings),
        failures=tuple(StepError(name, text) for name, text in result.failures.items()),
        outputs=dict(result.outputs),
        timings=dict(result.timings),
        memory_mb=dict(result.memory_mb),
        settings=settings.as_dict(),
        group_by=result.group_by,
        groups=dict(result.groups),
        software=software_versions(),
        command=command,
        log=log,
    )
    return write_record(record, output_dir / GROUP_RECORD)


def _template(result: GroupResult, settings: Settings) -> TemplateResult | None:
    template = result.template
    if template is None:
        return None
    header = read_header(template.images["magnitude" if "magnitude" in template.images else "t1w"])
    return TemplateResult(
        result.plan_name,
        existing=str(result.existing) if result.existing else "",
        participants={
            f"sub-{person.label}": tuple(scan.stem for scan in person.scans)
            for person in result.people
            if person.label in template.chains
        },
        channels=tuple(name for name in ("magnitude", "t1w", "chi") if name in template.images),
        shape=tuple(header.shape),
        voxel_size=tuple(header.voxel_size),
        rounds=tuple(Round(**noted) for noted in template.rounds),
        tolerance=settings.template_tolerance,
        ended=template.ended,
    )
