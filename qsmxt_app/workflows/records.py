"""The record of each acquisition: what the report, and anybody later, needs to know about it."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import convert

from qsmxt_app.bids.acquisition import Problem
from qsmxt_app.bids.entities import parse_name
from qsmxt_app.records.scan import (
    BackgroundResult,
    FieldResult,
    Inputs,
    InversionResult,
    MaskResult,
    OriginResult,
    PresetChoice,
    ReferenceResult,
    ScanRecord,
    StepError,
)
from qsmxt_app.report.acquisition_text import SIDECAR_KEYS
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.node_base import MEASURES
from qsmxt_app.workflows.outputs import OUTPUTS, maps_on_disk, output_path
from qsmxt_app.workflows.participant import ScanGraph
from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.scan_steps import planned_outputs, planned_reference
from qsmxt_app.workflows.segmentation.plan import REGION_STEPS
from qsmxt_app.workflows.segmentation.segmentation_record import (
    RegionResult,
    planned_segmentation,
    regions_on_disk,
)
from qsmxt_app.workflows.software import software_versions

NOT_FACTS = {*MEASURES, "warnings"}
INVERSIONS = ("tgv", "inversion", "tgv_reliable", "inversion_reliable")
BACKGROUNDS = ("background", "background_reliable")
NOT_MAPS = {"prepare", "masks", "field", *BACKGROUNDS, *INVERSIONS, "combine", "derivatives", *REGION_STEPS}
"""Steps whose facts have a section of their own."""


def scan_record(
    scan: ScanGraph,
    regions: RegionResult,
    bids_dir: Path,
    output_dir: Path,
    *,
    ended: Collection[str],
    errors: Sequence[StepError],
    command: str,
) -> ScanRecord:
    """Describe one acquisition after its nodes have run.

    Parameters
    ----------
    scan
        The acquisition, its nodes and its settings.
    regions
        Of `region_result`.
    bids_dir
        Folder to which the names of input files are relative.
    output_dir
        Where the maps go.
    ended
        Steps that finished in this run or were taken from an earlier one.
    errors
        Of the steps that failed.
    command
        The command line.
    """
    plan, acquisition = scan.plan, scan.plan.acquisition
    facts = {step: scan.facts(step) for step in scan.steps if step in ended}
    outputs = {} if errors else facts.get("derivatives", {}).get("outputs", {}) | dict(regions.outputs)
    there = {*maps_on_disk(output_dir, acquisition), *regions_on_disk(output_dir, acquisition)}
    stale = tuple(sorted(there - set(outputs.values())))
    inputs = replace(
        described_inputs(plan, bids_dir),
        phase_scaling=facts.get("prepare", {}).get("phase_scaling", ""),
        bipolar=facts.get("field", {}).get("bipolar", plan.bipolar),  # the phase may contradict the sidecar
    )
    return ScanRecord(
        **_beginning(acquisition.stem, acquisition.output_entities, errors, plan.settings, command),
        **_results(facts, regions),
        inputs=inputs,
        preset=chosen_preset(plan),
        segmentation=regions.segmentation,
        outputs=outputs,
        stale=stale,
        timings={step: noted["seconds"] for step, noted in facts.items()},
        memory_mb={step: noted["peak_mb"] for step, noted in facts.items()},
        warnings=(*acquisition.warnings, *plan.r2_problems, *_warnings(facts, regions, stale)),
    )


def _results(facts: Mapping[str, Mapping[str, Any]], regions: RegionResult) -> dict[str, Any]:
    """Sort what the steps noted into the sections of the record."""
    combine = facts.get("combine", {})
    return {
        "mask": convert({**facts.get("masks", {}), **(combine if "origin" in combine else {})}, MaskResult),
        "origin": convert(combine.get("origin", {}), OriginResult),
        "field": convert(facts.get("field", {}), FieldResult),
        "background": convert(facts.get("background", {}), BackgroundResult),
        "background_reliable": convert(facts.get("background_reliable", {}), BackgroundResult),
        "inversion": convert(_inversion_facts(facts, ""), InversionResult),
        "inversion_reliable": convert(_inversion_facts(facts, "_reliable"), InversionResult),
        "reference": convert({**combine, **regions.reference}, ReferenceResult),
        "maps": {
            step: {name: value for name, value in noted.items() if name not in NOT_FACTS}
            for step, noted in facts.items()
            if step not in NOT_MAPS
        },
    }


def _warnings(
    facts: Mapping[str, Mapping[str, Any]], regions: RegionResult, stale: Sequence[str]
) -> Iterator[str]:
    for noted in facts.values():
        yield from noted.get("warnings", ())
    yield from regions.segmentation.warnings
    if stale:
        yield (
            f"Older maps are still there: {', '.join(stale)}. An earlier run wrote them and this one did not "
            "replace them: they are not its result."
        )


def _inversion_facts(facts: Mapping[str, Any], suffix: str) -> Any:
    return facts.get(f"tgv{suffix}") or facts.get(f"inversion{suffix}") or {}


def problem_record(problem: Problem, settings: Settings, log: str, command: str) -> ScanRecord:
    """Describe data from which no acquisition could be put together."""
    entities = {"sub": problem.subject} | ({"ses": problem.session} if problem.session else {})
    name = parse_name(problem.file.name) if problem.file else None
    if name:
        entities = {key: value for key, value in name.entities.items() if key not in ("echo", "part")}
    stem = "_".join(f"{key}-{value}" for key, value in entities.items())
    error = StepError("input", str(problem), log)
    return ScanRecord(**_beginning(stem, entities, [error], settings, command))


def planned_record(scan: ScanPlan, bids_dir: Path) -> ScanRecord:
    """Describe an acquisition before anything is run: what would be made of it, and how."""
    acquisition, given = scan.acquisition, scan.existing
    outputs = {
        name: output_path(Path(), acquisition, OUTPUTS[name]).as_posix() for name in planned_outputs(scan)
    }
    return ScanRecord(
        stem=acquisition.stem,
        inputs=described_inputs(scan, bids_dir),
        settings=scan.settings.as_dict(),
        preset=chosen_preset(scan),
        reference=ReferenceResult(planned_reference(scan)),
        origin=OriginResult(given.path.name, given.program) if given else OriginResult(),
        segmentation=planned_segmentation(scan, bids_dir),
        outputs=outputs,
        software=software_versions(),
    )


def chosen_preset(scan: ScanPlan) -> PresetChoice:
    """Return the preset that was chosen for a scan; an empty one where the user named it."""
    return PresetChoice(scan.choice.preset, scan.choice.reason) if scan.choice else PresetChoice()


def _beginning(
    stem: str, entities: Mapping[str, str], errors: Sequence[StepError], settings: Settings, command: str
) -> dict[str, Any]:
    return {
        "stem": stem,
        "entities": dict(entities),
        "status": "failed" if errors else "done",
        "settings": settings.as_dict(),
        "errors": tuple(errors),
        "software": software_versions(),
        "command": command,
    }


def described_inputs(scan: ScanPlan, bids_dir: Path) -> Inputs:
    """Describe what is known of an acquisition before any of its voxels is read."""
    acquisition = scan.acquisition
    return Inputs(
        files=tuple(os.path.relpath(file, bids_dir) for file in acquisition.files),
        echo_times=tuple(acquisition.echo_times),
        field_strength=acquisition.field_strength,
        voxel_size=acquisition.voxel_size,
        length_scale=scan.length_scale,
        shape=acquisition.shape,
        b0_direction=acquisition.b0_direction,
        obliquity_degrees=obliquity_degrees(acquisition.b0_direction),
        phase_units=acquisition.phase_units or "",
        suffix=acquisition.suffix,
        bipolar=scan.bipolar,
        readout_told=acquisition.bipolar is not None,
        sidecar={key: acquisition.metadata[key] for key in SIDECAR_KEYS if key in acquisition.metadata},
    )


def obliquity_degrees(b0_direction: Sequence[float]) -> float:
    """Return the angle between B0 and the voxel axis that is nearest to it."""
    return math.degrees(math.acos(min(1.0, max(abs(component) for component in b0_direction))))
