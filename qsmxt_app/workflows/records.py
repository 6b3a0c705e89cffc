"""The record of each acquisition: what the report, and anybody later, needs to know about it."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qsmxt_app import __version__
from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.bids.atomic import write_json
from qsmxt_app.bids.entities import parse_name
from qsmxt_app.report.acquisition_text import SIDECAR_KEYS
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.outputs import maps_on_disk
from qsmxt_app.workflows.participant import ScanGraph
from qsmxt_app.workflows.scan_steps import is_bipolar
from qsmxt_app.workflows.segmentation.segmentation_record import regions_on_disk

SCHEMA = 1
LIBRARIES = ("numpy", "scipy", "numba", "nibabel", "nipype", "antspyx", "warpkit")
SECTIONS = {
    "mask": ("masks",),
    "field": ("field",),
    "background": ("background",),
    # the inversion, whichever it was
    "tgv": ("tgv", "inversion", "combine", "chi_noise"),
    "tgv_reliable": ("tgv_reliable", "inversion_reliable"),
}
NOT_FACTS = {"seconds", "peak_mb", "warnings"}


def scan_record(
    scan: ScanGraph,
    segmentation: Mapping[str, Any],
    bids_dir: Path,
    output_dir: Path,
    *,
    ended: Collection[str],
    errors: Sequence[Mapping[str, str]],
    command: str,
) -> dict[str, Any]:
    """Describe one acquisition after its nodes have run.

    Parameters
    ----------
    scan
        The acquisition, its nodes and its settings.
    segmentation
        Of `segmentation_record`.
    bids_dir
        Folder to which the names of input files are relative.
    output_dir
        Where the maps go.
    ended
        Steps that finished in this run or were taken from an earlier one.
    errors
        Step, message and log of each step that failed.
    command
        The command line.
    """
    facts, acquisition = {step: scan.facts(step) for step in scan.steps if step in ended}, scan.acquisition
    settings, regions = scan.settings, dict(segmentation)
    reference = regions.pop("reference", {})
    record: dict[str, Any] = {
        **_beginning(acquisition.stem, acquisition.output_entities, errors, settings, command),
        "inputs": {
            **described_inputs(acquisition, settings, bids_dir),
            "phase_scaling": facts.get("prepare", {}).get("phase_scaling", ""),
        },
        "preset": dataclasses.asdict(scan.choice) if scan.choice else {},
        "offsets": {"removed": facts.get("field", {}).get("offsets_removed", False)},
        "outputs": {} if errors else facts.get("derivatives", {}).get("outputs", {}) | regions.pop("outputs"),
        "timings": {step: noted["seconds"] for step, noted in facts.items()},
        "memory_mb": {step: noted["peak_mb"] for step, noted in facts.items()},
        "warnings": [
            *acquisition.warnings,
            *(text for noted in facts.values() for text in noted.get("warnings", ())),
            *regions.get("warnings", ()),
        ],
        "segmentation": regions,
    }
    there = {*maps_on_disk(output_dir, acquisition), *regions_on_disk(output_dir, acquisition)}
    record["stale"] = sorted(there - set(record["outputs"].values()))
    if record["stale"]:
        record["warnings"].append(
            f"Older maps are still there: {', '.join(record['stale'])}. An earlier run wrote them, and this "
            "one did not replace them: do not take them for its result."
        )
    for section, steps in SECTIONS.items():
        record[section] = {
            key: value for step in steps for key, value in facts.get(step, {}).items() if key not in NOT_FACTS
        }
    record["tgv"] |= {key: value for key, value in reference.items() if key not in NOT_FACTS}
    return record


def problem_record(problem: Problem, settings: Settings, log: str, command: str) -> dict[str, Any]:
    """Describe data from which no acquisition could be put together."""
    entities = {"sub": problem.subject} | ({"ses": problem.session} if problem.session else {})
    name = parse_name(problem.file.name) if problem.file else None
    if name:
        entities = {key: value for key, value in name.entities.items() if key not in ("echo", "part")}
    stem = "_".join(f"{key}-{value}" for key, value in entities.items())
    error = {"step": "input", "message": str(problem), "log": log}
    return _beginning(stem, entities, [error], settings, command)


def write_record(record: Mapping[str, Any], output_dir: Path) -> Path:
    """Write a record beside the figures of its participant, complete or not at all."""
    path = (
        output_dir / f"sub-{record['entities']['sub']}" / "figures" / f"{record['stem']}_desc-qsm_record.json"
    )
    write_json(path, record)
    return path


def _beginning(
    stem: str,
    entities: Mapping[str, str],
    errors: Sequence[Mapping[str, str]],
    settings: Settings,
    command: str,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "stem": stem,
        "entities": dict(entities),
        "status": "failed" if errors else "done",
        "settings": settings.as_dict(),
        "errors": [dict(error) for error in errors],
        "software": software_versions(),
        "command": command,
    }


def described_inputs(acquisition: Acquisition, settings: Settings, bids_dir: Path) -> dict[str, Any]:
    """Describe what is known of an acquisition before any of its voxels is read."""
    return {
        "files": [os.path.relpath(file, bids_dir) for file in acquisition.files],
        "echo_times": acquisition.echo_times,
        "field_strength": acquisition.field_strength,
        "voxel_size": acquisition.voxel_size,
        "shape": acquisition.shape,
        "b0_direction": acquisition.b0_direction,
        "obliquity_degrees": obliquity_degrees(acquisition.b0_direction),
        "phase_units": acquisition.phase_units or "",
        "suffix": acquisition.suffix,
        "bipolar": is_bipolar(acquisition, settings),
        "readout_told": acquisition.bipolar is not None,
        "sidecar": {key: acquisition.metadata[key] for key in SIDECAR_KEYS if key in acquisition.metadata},
    }


def obliquity_degrees(b0_direction: Sequence[float]) -> float:
    """Return the angle between B0 and the voxel axis that is nearest to it."""
    return math.degrees(math.acos(min(1.0, max(abs(component) for component in b0_direction))))


def software_versions() -> dict[str, str]:
    """Return the versions of this package and of what its results depend on."""
    found = {"qsmxt": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
