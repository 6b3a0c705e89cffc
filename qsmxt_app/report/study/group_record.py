"""What the group level noted, read back from disk; what is missing or of the wrong type reads as absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmxt_app.report.scan_record import mapping, sequence, text

GROUP_RECORD = Path("figures") / "group_desc-qsm_record.json"
_MAPPINGS = ("template", "outputs", "timings", "memory_mb", "settings", "software")


@dataclass(frozen=True)
class GroupRecord:
    """What was done with all participants. Everything may be empty."""

    template: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    memory_mb: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[Mapping[str, Any], ...] = ()
    failures: tuple[Mapping[str, Any], ...] = ()
    inconsistent_settings: tuple[Mapping[str, Any], ...] = ()
    group_by: str = ""
    command: str = ""
    log: str = ""


def read_group_record(output_dir: Path) -> GroupRecord | None:
    """Read the record of the group level; None where there is none that can be read."""
    try:
        values = mapping(json.loads((output_dir / GROUP_RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    return GroupRecord(
        **{name: mapping(values.get(name)) for name in _MAPPINGS},
        missing=tuple(mapping(item) for item in sequence(values.get("missing"))),
        failures=tuple(mapping(item) for item in sequence(values.get("failures"))),
        inconsistent_settings=tuple(mapping(item) for item in sequence(values.get("mixtures"))),
        group_by=text(values.get("group_by")),
        command=text(values.get("command")),
        log=text(values.get("log")),
    )
