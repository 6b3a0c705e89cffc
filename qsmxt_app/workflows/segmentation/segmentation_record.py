"""What the record of a scan says about its regions."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import derivative_path
from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.records.scan import AlignmentResult, Segmentation, StepError
from qsmxt_app.workflows.participant import ScanGraph
from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.segmentation.plan import NONE
from qsmxt_app.workflows.step_group import StepGroup

PLANNED, DONE, FAILED = "planned", "done", "failed"


@dataclass(frozen=True)
class RegionResult:
    """How the regions of a scan were found, the files of them, and the facts of a region as reference."""

    segmentation: Segmentation
    outputs: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)


def region_result(
    scan: ScanGraph, bids_dir: Path, *, ended: Collection[str], failures: Mapping[str, str], log: str
) -> RegionResult:
    """Describe how the regions of a scan were found, or why they were not.

    Parameters
    ----------
    scan
        Its plan and its steps.
    bids_dir
        Folder to which the name of the T1w is relative.
    ended
        Full names of the steps that finished in this run or were taken from an earlier one.
    failures
        Full names and messages of those that failed.
    log
        File to read.
    """
    plan = scan.plan.segmentation
    warned = plan.no_spaces
    if plan.no_reference:
        wanted = scan.plan.settings.reference
        told = f"Chi is relative to its mean, not to {wanted}: {plan.no_reference}"
        warned = (told, *warned)
    planned = planned_segmentation(scan.plan, bids_dir)
    if plan.method == NONE:
        return RegionResult(replace(planned, warnings=warned))
    facts = {
        step: part.facts(step) for part in scan.labelling for step in part.steps if part.full(step) in ended
    }
    errors = [StepError(step, message, log) for step, message in _errors(scan, ended, failures)]
    status = FAILED if errors else DONE
    if plan.runs and plan.no_reference:
        errors.append(StepError("reference", warned[0], log))
    segmentation = replace(
        planned,
        status=status,
        alignment=AlignmentResult(**facts.get("align", {}).get("alignment", {})),
        warnings=(*warned, *(text for noted in facts.values() for text in noted.get("warnings", ()))),
        errors=tuple(errors),
        timings={step: noted["seconds"] for step, noted in facts.items()},
        memory_mb={step: noted["peak_mb"] for step, noted in facts.items()},
    )
    outputs = {name: path for noted in facts.values() for name, path in noted.get("outputs", {}).items()}
    return RegionResult(segmentation, outputs, facts.get("reference", {}))


def planned_segmentation(scan: ScanPlan, bids_dir: Path) -> Segmentation:
    """Describe how the regions of a scan are to be found, or why none are.

    Parameters
    ----------
    scan
        Its plan.
    bids_dir
        Folder to which the name of the T1w is relative.
    """
    plan = scan.segmentation
    if plan.method == NONE:
        return Segmentation(NONE, reason=plan.reason)
    return Segmentation(
        FAILED if plan.problem else PLANNED,
        method=plan.method,
        reason=plan.reason,
        atlas=plan.source,
        t1w=os.path.relpath(plan.t1w, bids_dir) if plan.t1w else None,
    )


def plan_by_the_mean(scan: ScanGraph, ended: Collection[str], failures: Mapping[str, str]) -> ScanPlan | None:
    """Return the plan for a scan with a map of chi, but without the region that it should be relative to.

    The map is not lost with its labels: it is written relative to its mean, and the failure is reported.

    Returns
    -------
    ScanPlan or None
        None where nothing of the kind happened.
    """
    plan = scan.plan.segmentation
    made = scan.full("combine") in ended and scan.full("derivatives") not in ended
    if not plan.reference or not made:
        return None
    labelled = any(part.full("label") in ended for part in scan.labelling)
    step, message = _errors(scan, ended, failures)[0]
    reason = message if labelled else f"{step}: {message}"
    by_mean = replace(plan, reference="", no_reference=reason, problem="" if labelled else reason)
    return scan.plan.with_segmentation(by_mean)


def regions_on_disk(output_dir: Path, acquisition: Acquisition) -> tuple[str, ...]:
    """Return the labels and the table of an acquisition that are there, whichever run wrote them."""
    table = derivative_path(output_dir, acquisition.output_entities, "stats", desc="qsm", extension=".tsv")
    labels = sorted(table.parent.glob(f"{acquisition.stem}_seg-*_dseg.nii.gz"))
    found = [*labels, table] if table.exists() else labels
    # those of the T1w have no `desc-qsm`
    for end in ("desc-qsm_dseg", "desc-qsm_mask", *sorted({output.suffix for output in MEASURED.values()})):
        found += sorted(table.parent.glob(f"{acquisition.stem}_space-*_{end}.nii.gz"))
    return tuple(path.relative_to(output_dir).as_posix() for path in found)


def _errors(scan: ScanGraph, ended: Collection[str], failures: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the steps that failed, and why."""
    if scan.plan.segmentation.problem:
        return [("segmentation", scan.plan.segmentation.problem)]
    errors = [
        (step, _message(part, step, failures))
        for part in scan.labelling
        for step in part.steps
        if part.full(step) in failures
    ]
    if errors or all(part.full(step) in ended for part in scan.labelling for step in part.steps):
        return errors
    return [("segmentation", "there is no susceptibility map, or the run was stopped")]


def _message(part: StepGroup, step: str, failures: Mapping[str, str]) -> str:
    return str(part.failure(step).get("message") or failures[part.full(step)])
