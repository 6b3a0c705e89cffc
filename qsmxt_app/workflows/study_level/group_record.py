"""The record of the group level: what its report, and anybody later, needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qsmxt_app.bids.atomic import write_json
from qsmxt_app.bids.headers import read_header
from qsmxt_app.group.inconsistent_settings import InconsistentSetting
from qsmxt_app.report.study.group_record import GROUP_RECORD
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.records import software_versions
from qsmxt_app.workflows.study_level.inputs import Missing
from qsmxt_app.workflows.study_level.study import BuiltTemplate, Person

SCHEMA = 1


@dataclass(frozen=True)
class GroupResult:
    """How the group level ended."""

    plan_name: str
    existing: Path | None
    people: tuple[Person, ...]
    template: BuiltTemplate | None
    missing: tuple[Missing, ...]
    inconsistent_settings: tuple[InconsistentSetting, ...]
    failures: Mapping[str, str]
    outputs: Mapping[str, Any]
    timings: Mapping[str, float]
    memory_mb: Mapping[str, float]


def write_group_record(
    result: GroupResult, output_dir: Path, settings: Settings, command: str, log: str
) -> Path:
    """Write the record, complete or not at all."""
    path = output_dir / GROUP_RECORD
    write_json(
        path,
        {
            "schema": SCHEMA,
            "status": "failed" if result.failures else "done",
            "template": _template(result, settings),
            "missing": [asdict(one) for one in result.missing],
            "mixtures": [asdict(one) for one in result.inconsistent_settings],
            "failures": [{"step": name, "message": text} for name, text in result.failures.items()],
            "outputs": dict(result.outputs),
            "timings": dict(result.timings),
            "memory_mb": dict(result.memory_mb),
            "settings": settings.as_dict(),
            "group_by": settings.group_by or "",
            "software": software_versions(),
            "command": command,
            "log": log,
        },
    )
    return path


def _template(result: GroupResult, settings: Settings) -> dict[str, Any]:
    template = result.template
    if template is None:
        return {}
    header = read_header(template.images["magnitude" if "magnitude" in template.images else "t1w"])
    return {
        "name": result.plan_name,
        "existing": str(result.existing) if result.existing else "",
        "participants": {
            f"sub-{person.label}": [scan.stem for scan in person.scans]
            for person in result.people
            if person.label in template.chains
        },
        "channels": [name for name in ("magnitude", "t1w", "chi") if name in template.images],
        "shape": header.shape,
        "voxel_size": header.voxel_size,
        "rounds": [dict(noted) for noted in template.rounds],
        "tolerance": settings.template_tolerance,
        "ended": template.ended,
    }
