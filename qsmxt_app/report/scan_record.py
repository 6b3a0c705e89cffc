"""What the workflow noted about each acquisition, read back from disk.

Records come from other runs, other versions and runs that were cut off. Reading them therefore never
fails: what is missing or of the wrong type reads as absent, and a record that is no JSON as a failure.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

RECORD_SUFFIX = "_desc-qsm_record.json"

_ENTITY_NAMES = {
    "ses": "session",
    "acq": "acquisition",
    "run": "run",
    "rec": "reconstruction",
    "dir": "direction",
    "inv": "inversion",
    "task": "task",
}


@dataclass(frozen=True)
class StepError:
    """A step that failed: its name, the message, and the log file (relative to the output folder)."""

    step: str
    message: str
    log: str = ""


@dataclass(frozen=True)
class Record:
    """What was done with one acquisition. Every mapping may be empty."""

    stem: str
    status: str = ""
    entities: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    offsets: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mask: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    field: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    background: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tgv: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tgv_reliable: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    segmentation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory_mb: Mapping[str, float] = dataclasses.field(default_factory=dict)
    software: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    errors: tuple[StepError, ...] = ()
    command: str = ""

    @property
    def failed(self) -> bool:
        """Whether anything of this acquisition is missing because a step failed."""
        return self.status == "failed" or bool(self.errors)

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Echo times in s."""
        return numbers(self.inputs.get("echo_times"))

    @property
    def title(self) -> str:
        """Name of the acquisition in words, without its subject: `session A, run 1`."""
        parts = dict(part.partition("-")[::2] for part in self.stem.split("_") if "-" in part)
        words = [f"{_ENTITY_NAMES.get(key, key)} {value}" for key, value in parts.items() if key != "sub"]
        text = ", ".join(words)
        return text[:1].upper() + text[1:] if text else "QSM acquisition"


def read_records(output_dir: Path, subject: str) -> list[Record]:
    """Read all records of one participant, sorted by file name.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject
        Participant label without `sub-`.
    """
    folder = output_dir / f"sub-{subject}" / "figures"
    return [read_record(path) for path in sorted(folder.glob(f"*{RECORD_SUFFIX}"))]


def read_record(path: Path) -> Record:
    """Read one record; a file that cannot be understood gives a failed record that says so."""
    stem = path.name.removesuffix(RECORD_SUFFIX)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path.name} cannot be read ({error}). Run this participant again."
        return Record(stem=stem, status="failed", errors=(StepError("report", message),))
    return parse_record(content, stem)


def parse_record(content: object, stem: str) -> Record:
    """Turn decoded JSON into a record, dropping what has the wrong type."""
    values = mapping(content)
    fields = (
        "entities",
        "inputs",
        "settings",
        "preset",
        "offsets",
        "mask",
        "field",
        "background",
        "tgv",
        "tgv_reliable",
        "segmentation",
        "outputs",
        "software",
    )
    regions = mapping(values.get("segmentation"))
    return Record(
        stem=text(values.get("stem")) or stem,
        status=text(values.get("status")),
        timings=_positive(values.get("timings")) | _positive(regions.get("timings")),
        memory_mb=_positive(values.get("memory_mb")) | _positive(regions.get("memory_mb")),
        warnings=tuple(text(item) for item in sequence(values.get("warnings")) if text(item)),
        errors=tuple(_step_error(item) for item in sequence(values.get("errors"))),
        command=text(values.get("command")),
        **{name: mapping(values.get(name)) for name in fields},
    )


def output_path(output_dir: Path, record: Record, key: str) -> Path | None:
    """Return the file of an output if the record names it and it exists inside the output folder."""
    relative = PurePosixPath(text(record.outputs.get(key)))
    if relative == PurePosixPath() or relative.is_absolute() or ".." in relative.parts:
        return None
    path = output_dir / relative
    return path if path.is_file() else None


def mapping(value: object) -> dict[str, Any]:
    """Return the value if it is a JSON object, otherwise an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """Return the value if it is a JSON array, otherwise an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def text(value: object) -> str:
    """Return text as it is, numbers as text, anything else as empty text."""
    if isinstance(value, str):
        return value
    return "" if isinstance(value, bool) or not isinstance(value, int | float) else f"{value:g}"


def words(value: object) -> str:
    """Return a setting as it is shown: yes or no, and what a list holds."""
    if isinstance(value, bool):
        return ("no", "yes")[value]
    return ", ".join(map(text, value)) if isinstance(value, list) else text(value)


def number(value: object) -> float | None:
    """Return a finite number, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def numbers(value: object) -> tuple[float, ...]:
    """Return the finite numbers of a JSON array."""
    return tuple(item for item in map(number, sequence(value)) if item is not None)


def _positive(value: object) -> dict[str, float]:
    pairs = ((str(key), number(item)) for key, item in mapping(value).items())
    return {key: item for key, item in pairs if item is not None and item >= 0}


def _step_error(value: object) -> StepError:
    if isinstance(value, str):
        return StepError("", value)
    values = mapping(value)
    message = text(values.get("message")) or "failed without a message"
    return StepError(text(values.get("step")), message, text(values.get("log")))
