"""The participant level from the arguments to the exit code."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from qsmxt_app import __version__
from qsmxt_app.bids.dataset import Dataset, find_acquisitions, open_dataset, participant_labels
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.bids.selection import Selection, echo_numbers, read_bids_filter, select_labels
from qsmxt_app.bids.validation import validate_dataset
from qsmxt_app.convert.detect import Input, detect_input
from qsmxt_app.errors import NoInput, NothingSelected, UnusableData, WrongUsage
from qsmxt_app.private_folder import PRIVATE
from qsmxt_app.terminal import PlainConsole, counted
from qsmxt_app.workflows.boilerplate import write_boilerplate
from qsmxt_app.workflows.existing_maps import find_existing_maps, made_by
from qsmxt_app.workflows.given_masks import settings_with_masks
from qsmxt_app.workflows.machine_share import share_machine
from qsmxt_app.workflows.outcome import SOMETHING_FAILED, ParticipantOutcome, exit_code, summary_lines
from qsmxt_app.workflows.plan import RunPlan, described_scans, estimate_run, plan_run, plan_scan
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.run_folder import (
    RunFolder,
    create_folder,
    create_run_folder,
    log_to,
    stop_logging,
)
from qsmxt_app.workflows.segmentation.label_checks import check_labels
from qsmxt_app.workflows.study import Study
from qsmxt_app.workflows.submission import submit

__all__ = ["Request", "run_participants"]

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
        The run cannot start.
    """
    if request.settings.retry_failed and not request.settings.submit:
        raise WrongUsage("--retry-failed needs --submit.", "Without it, a run continues.")
    if request.settings.submit and request.settings.reports_only:
        raise WrongUsage("--submit and --reports-only exclude each other.", "Give one of them.")
    if request.settings.reports_only:
        return _show_or_run(request, _plan_reports(request))
    found = detect_input(request.bids_dir)
    if found.kind == "bids":
        if request.settings.convert_only:
            raise WrongUsage(
                f"--convert-only: {request.bids_dir} is a BIDS dataset already.", "Leave it out."
            )
        return _show_or_run(request, _plan_dataset(request))
    for option, given in (
        ("--boilerplate-only", request.settings.boilerplate_only),
        ("--submit", request.settings.submit),
    ):
        if given:
            raise WrongUsage(
                f"{option}: {request.bids_dir} is not a BIDS dataset.",
                "Convert it first, with --convert-only.",
            )
    return _convert_and_run(request, found)


def _convert_and_run(request: Request, found: Input) -> int:
    from qsmxt_app.workflows.conversion import convert_input, show_conversion  # of what BIDS needs nothing

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


def _show_or_run(request: Request, plan: RunPlan) -> int:
    if request.settings.boilerplate_only:
        return _describe(request, plan)
    if request.settings.submit:
        return submit(request, plan)
    if request.settings.dry_run:
        request.check_folders(request.bids_dir)
        _show(plan, request)
        return 0 if plan.all_scans else _code_of_problems(plan)
    return _run(request, plan)


def _code_of_problems(plan: RunPlan) -> int:
    """Return how a run would end where nothing can be processed."""
    codes = {problem.exit_code for problems in plan.problems.values() for problem in problems}
    return SOMETHING_FAILED if len(codes) > 1 else next(iter(codes), 0)


def _describe(request: Request, plan: RunPlan) -> int:
    """Write the methods of what would be run, and nothing else."""
    output_dir = request.output_dir.absolute()
    initialise_derivative(output_dir, request.bids_dir, __version__)
    written = write_boilerplate(plan.all_scans, bids_dir=request.bids_dir, output_dir=output_dir)
    print(f"Methods: {written[0]}")
    return 0


def _plan_dataset(request: Request) -> RunPlan:
    dataset = open_dataset(request.bids_dir, request.settings.bids_database_dir)
    subjects = select_labels("sub", request.settings.participant_label, dataset.subjects)
    if not request.settings.skip_bids_validation:
        validate_dataset(request.bids_dir, subjects=subjects if request.settings.participant_label else None)
    return _plan(request, dataset)


def _plan(request: Request, dataset: Dataset) -> RunPlan:
    settings = request.settings
    filters = read_bids_filter(settings.bids_filter_file) if settings.bids_filter_file else {}
    selection = Selection(
        settings.participant_label,
        settings.session_label,
        settings.run_label,
        settings.acquisition_label,
        filters,
        settings.rec_label,
        echo_numbers(settings.echoes),
    )
    found = find_acquisitions(dataset, selection)
    mapped, unmapped = find_existing_maps(found.acquisitions, settings)
    existing = {acquisition.stem: given for acquisition, given in mapped}
    masked, unmasked = settings_with_masks([acquisition for acquisition, _ in mapped], settings)
    scans = [plan_scan(acquisition, own, existing[acquisition.stem]) for acquisition, own in masked]
    check_labels(scans)
    machine = share_machine(settings, len(scans))
    notes = found.notes
    if settings.chimap_derivatives:
        program = made_by(settings.chimap_derivatives)
        told = f"Maps in {settings.chimap_derivatives}, made by {program}, are evaluated: none is computed."
        notes = (*notes, told)
    return plan_run(scans, [*found.problems, *unmapped, *unmasked], notes, settings, machine)


def _plan_reports(request: Request) -> RunPlan:
    existing = participant_labels(request.output_dir)
    if not existing:
        raise NothingSelected(
            f"{request.output_dir} holds no participants.", "Run without --reports-only first."
        )
    subjects = select_labels("sub", request.settings.participant_label, existing)
    machine = share_machine(request.settings, len(subjects))
    return RunPlan(dict.fromkeys(subjects, ()), {}, (), machine)


def _run(request: Request, plan: RunPlan, folder: RunFolder | None = None) -> int:
    output_dir = request.output_dir.absolute()
    request.check_work_dir()
    initialise_derivative(
        output_dir, request.bids_dir, __version__, chimaps=request.settings.chimap_derivatives
    )
    folder = folder or create_run_folder(output_dir, request.settings, request.command)
    create_folder(request.work_dir, PRIVATE)
    handler = log_to(folder, request.verbosity)
    try:
        log.info("%s", request.command)
        plan = replace(plan, notes=(_expected(plan), *plan.notes))
        outcomes = Study(request, plan, folder).run()
    except Exception:
        log.exception("the run ended early")
        raise
    finally:
        stop_logging(handler)
    return _conclude(outcomes, folder, request)


def _expected(plan: RunPlan) -> str:
    """Say what the run is expected to need, and what it may use."""
    share, scans = plan.machine, plan.all_scans
    if not scans:
        return "No scan can be processed." if plan.problems else "Only reports are written."
    needs = "needs" if len(scans) == 1 else "need"
    return (
        f"{described_scans(scans)} {needs} {estimate_run(scans).text}; "
        f"{counted(share.n_cpus, 'core')} and {share.memory_gb:.1f} GB may be used."
    )


def _conclude(outcomes: Sequence[ParticipantOutcome], folder: RunFolder, request: Request) -> int:
    code = exit_code(outcomes)
    if code or request.verbosity >= 0:
        console = PlainConsole(stderr=True)
        for line in summary_lines(outcomes, folder.log_file):
            console.print(line)
        if not code:
            warned = any(scan.warnings for outcome in outcomes for scan in outcome.scans)
            console.print(
                f"Results{', with warnings' if warned else ''}: {request.output_dir / 'index.html'}"
            )
    return code


def _show(plan: RunPlan, request: Request) -> None:
    """Print what would be run."""
    share, scans = plan.machine, plan.all_scans
    processed = f"{counted(len(plan.subjects), 'participant')}, {described_scans(scans)}"
    lines = [
        f"Would process {processed} on {counted(share.n_cpus, 'core')}, {share.memory_gb:.1f} GB.",
        *(line for subject in plan.subjects for line in _described(plan, subject)),
        *plan.notes,
        f"Results would go to {request.output_dir}, intermediate files to {request.work_dir}.",
    ]
    console = PlainConsole()
    for line in lines:
        console.print(line)


def _described(plan: RunPlan, subject: str) -> Iterator[str]:
    """Yield the lines of a dry run about one participant."""
    for scan in plan.scans.get(subject, ()):
        size = "x".join(map(str, scan.acquisition.shape))
        if scan.existing:
            yield f"{scan.label}: {scan.existing.path} of {scan.existing.program}, not reconstructed"
        labels = ", with labels" if scan.segmentation.runs else ""
        yield f"{scan.label}: {size} voxels{labels}, {scan.estimate.text}"
        if scan.choice:
            yield f"  preset {scan.choice.preset}: {scan.choice.reason}"
        yield f"  {' -> '.join(step.name for step in scan.maps)}"
        yield from (f"  regions: {text}" for text in scan.segmentation.lines)
    for problem in plan.problems.get(subject, ()):
        yield f"sub-{subject}: cannot be used: {problem}"
