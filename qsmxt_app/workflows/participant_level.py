"""The participant level from the arguments to the exit code."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qsmxt_app import __version__
from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.bids.dataset import Dataset, find_acquisitions, open_dataset, participant_labels
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.bids.selection import Selection, read_bids_filter, select_labels
from qsmxt_app.bids.validation import validate_dataset
from qsmxt_app.convert.detect import Input, detect_input
from qsmxt_app.errors import NoInput, NothingSelected, UnusableData, WrongUsage
from qsmxt_app.settings import Settings
from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows.boilerplate import write_boilerplate
from qsmxt_app.workflows.cluster_executor import SCHEDULERS
from qsmxt_app.workflows.conversion import convert_input, show_conversion
from qsmxt_app.workflows.estimate import estimate_all, estimate_scan, too_large
from qsmxt_app.workflows.limits import available_cpus, available_memory_gb
from qsmxt_app.workflows.other_plugins import read_plugin
from qsmxt_app.workflows.outcome import SOMETHING_FAILED, ParticipantOutcome, exit_code, summary_lines
from qsmxt_app.workflows.preset_choice import settings_for
from qsmxt_app.workflows.run_folder import (
    PRIVATE,
    RunFolder,
    create_folder,
    create_run_folder,
    log_to,
    stop_logging,
)
from qsmxt_app.workflows.scan_steps import step_names
from qsmxt_app.workflows.segmentation.label_checks import check_labels
from qsmxt_app.workflows.segmentation.plan import plan_segmentation
from qsmxt_app.workflows.segmentation.steps import described
from qsmxt_app.workflows.study import Plan, Request, Study
from qsmxt_app.workflows.submission import CORES, submit

__all__ = ["Request", "run_participants"]

MOST_THREADS = 8
SHARE_OF_MEMORY = 0.9

log = logging.getLogger("qsmxt")


def run_participants(request: Request) -> int:
    """Run the participant level.

    Returns
    -------
    int
        The exit code of a run that came to its end.

    Raises
    ------
    QsmxtError
        What keeps a run from starting.
    """
    if request.settings.retry_failed and not request.settings.submit:
        raise WrongUsage("--retry-failed needs --submit.", "A run without it goes on from what is finished.")
    if request.settings.submit and request.settings.reports_only:
        raise WrongUsage("--submit and --reports-only exclude each other.", "Give one of them.")
    if request.settings.reports_only:
        return _show_or_run(request, _plan_reports(request))
    found = detect_input(request.bids_dir)
    if request.settings.boilerplate_only and found.kind != "bids":
        raise WrongUsage(
            f"--boilerplate-only: {request.bids_dir} is no BIDS dataset.",
            "Convert it first, with --convert-only.",
        )
    if request.settings.submit and found.kind != "bids":
        raise WrongUsage(
            f"--submit: {request.bids_dir} is no BIDS dataset.", "Convert it first, with --convert-only."
        )
    if found.kind != "bids":
        return _convert_and_run(request, found)
    if request.settings.convert_only:
        raise WrongUsage(f"--convert-only: {request.bids_dir} is a BIDS dataset already.", "Leave it out.")
    return _show_or_run(request, _plan_dataset(request))


def _convert_and_run(request: Request, found: Input) -> int:
    if request.settings.dry_run:
        show_conversion(request, found)
        return 0
    folder, outcome = convert_input(request, found)
    code = SOMETHING_FAILED if outcome.failures else 0
    if request.settings.convert_only:
        return code
    converted = replace(request, bids_dir=outcome.raw)
    try:
        plan = _plan_dataset(converted)
    except NoInput as error:
        reasons = "; ".join(outcome.reasons) or error.message
        raise UnusableData(
            f"{request.bids_dir}: no susceptibility map can be made of it: {reasons}.",
            f"What could be converted is in {outcome.raw}.",
        ) from error
    return _run(converted, plan, folder) or code


def _show_or_run(request: Request, plan: Plan) -> int:
    if request.settings.boilerplate_only:
        return _describe(request, plan)
    if request.settings.submit:
        return submit(request, plan)
    if request.settings.dry_run:
        _show(plan, request)
        return 0
    return _run(request, plan)


def _describe(request: Request, plan: Plan) -> int:
    """Write the methods of what would be run, and nothing else."""
    output_dir = request.output_dir.absolute()
    initialise_derivative(output_dir, request.bids_dir, __version__)
    acquisitions = [scan for subject in plan.subjects for scan in plan.acquisitions.get(subject, [])]
    written = write_boilerplate(
        acquisitions, request.settings, bids_dir=request.bids_dir, output_dir=output_dir
    )
    print(f"Methods: {written[0]}")
    return 0


def _plan_dataset(request: Request) -> Plan:
    dataset = open_dataset(request.bids_dir, request.settings.bids_database_dir)
    subjects = select_labels("sub", request.settings.participant_label, dataset.subjects)
    if not request.settings.skip_bids_validation:
        validate_dataset(request.bids_dir, subjects=subjects if request.settings.participant_label else None)
    return _plan(request, dataset)


def _plan(request: Request, dataset: Dataset) -> Plan:
    settings = request.settings
    filters = read_bids_filter(settings.bids_filter_file) if settings.bids_filter_file else {}
    selection = Selection(
        settings.participant_label,
        settings.session_label,
        settings.run_label,
        settings.acquisition_label,
        filters,
    )
    found = find_acquisitions(dataset, selection)
    acquisitions: dict[str, list[Acquisition]] = {}
    problems: dict[str, list[Problem]] = {}
    share = machine_share(settings, len(found.acquisitions))
    # jobs get other machines than the one that submits them
    elsewhere = settings.submit or share["plugin"] in SCHEDULERS
    most = math.inf if elsewhere else share["memory_gb"] / (1 if settings.mem_gb else SHARE_OF_MEMORY)
    for acquisition in found.acquisitions:
        if problem := too_large(acquisition, settings, most):
            problems.setdefault(problem.subject, []).append(problem)
        else:
            acquisitions.setdefault(acquisition.subject, []).append(acquisition)
    check_labels(found.acquisitions, settings)
    for problem in found.problems:
        problems.setdefault(problem.subject, []).append(problem)
    return Plan(acquisitions, problems, found.notes, **share)


def _plan_reports(request: Request) -> Plan:
    existing = participant_labels(request.output_dir)
    if not existing:
        raise NothingSelected(
            f"{request.output_dir} holds no participants.", "Run without --reports-only first."
        )
    subjects = select_labels("sub", request.settings.participant_label, existing)
    return Plan(
        {subject: [] for subject in subjects}, {}, (), **machine_share(request.settings, len(subjects))
    )


def machine_share(settings: Settings, scans: int) -> dict[str, Any]:
    """Return how much of the machine is used; many scans run side by side, few get more cores each."""
    plugin, arguments = read_plugin(settings)
    cpus = settings.n_cpus or arguments.get("n_procs") or available_cpus()
    most = available_memory_gb()
    asked = settings.mem_gb or arguments.get("memory_gb")
    shared = max(1, min(MOST_THREADS, cpus // max(1, scans)))
    if plugin in SCHEDULERS:  # each step is a job with cores of its own
        cpus = shared = settings.n_cpus or CORES
    return {
        "n_cpus": cpus,
        "memory_gb": min(asked, most) if asked else SHARE_OF_MEMORY * most,
        "threads": min(settings.omp_nthreads or shared, cpus),
        "plugin": plugin,
        "plugin_arguments": arguments,
    }


def _run(request: Request, plan: Plan, folder: RunFolder | None = None) -> int:
    output_dir = request.output_dir.absolute()
    check_work_dir(request)
    initialise_derivative(output_dir, request.bids_dir, __version__)
    folder = folder or create_run_folder(output_dir, request.settings, request.command)
    create_folder(request.work_dir, PRIVATE)
    handler = log_to(folder, request.verbosity)
    try:
        log.info("%s", request.command)
        plan = replace(plan, notes=(_expected(plan, request.settings), *plan.notes))
        outcomes = Study(request, plan, folder).run()
    except Exception:
        log.exception("the run ended early")
        raise
    finally:
        stop_logging(handler)
    return _conclude(outcomes, folder, request)


def _expected(plan: Plan, settings: Settings) -> str:
    """Say what the run is expected to need, and what it may use."""
    scans = [scan for found in plan.acquisitions.values() for scan in found]
    machine = f"{plan.n_cpus} cores and {plan.memory_gb:.1f} GB may be used"
    counted = "1 scan needs" if len(scans) == 1 else f"{len(scans)} scans need"
    return f"{counted} {estimate_all(scans, settings).text}; {machine}."


def check_work_dir(request: Request) -> None:
    """Keep intermediate files out of the raw dataset, which is only read."""
    raw, output, work = (path.resolve() for path in (request.bids_dir, request.output_dir, request.work_dir))
    if work.is_relative_to(raw) and not work.is_relative_to(output):
        raise WrongUsage(
            f"--work-dir {request.work_dir} lies inside the raw dataset.", "Choose another folder."
        )


def _conclude(outcomes: Sequence[ParticipantOutcome], folder: RunFolder, request: Request) -> int:
    code = exit_code(outcomes)
    if code or request.verbosity >= 0:
        console = PlainConsole(stderr=True)
        for line in summary_lines(outcomes, folder.log_file):
            console.print(line)
        if not code:
            console.print(f"Results: {request.output_dir}")
    return code


def _show(plan: Plan, request: Request) -> None:
    """Print what would be run."""
    console = PlainConsole()
    settings = request.settings

    def line(text: str) -> None:
        console.print(text)

    line(f"Would process {len(plan.subjects)} participants on {plan.n_cpus} cores, {plan.memory_gb:.1f} GB.")
    for subject in plan.subjects:
        for acquisition in plan.acquisitions.get(subject, []):
            own, choice = settings_for(acquisition, settings)
            steps = step_names(acquisition, own)
            x, y, z = acquisition.shape
            line(f"{acquisition.label}: {x}x{y}x{z} voxels, {estimate_scan(acquisition, settings).text}")
            if choice:
                line(f"  preset {choice.preset}: {choice.reason}")
            line(f"  {' -> '.join(steps)}")
            for text in described(plan_segmentation(acquisition, own)):
                line(f"  regions: {text}")
        for problem in plan.problems.get(subject, []):
            line(f"sub-{subject}: cannot be used: {problem}")
    for note in plan.notes:
        line(note)
    line(f"Results would go to {request.output_dir}, intermediate files to {request.work_dir}.")
