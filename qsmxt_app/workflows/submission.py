"""`--submit`: an array of jobs for a study, followed by a job for the group level."""

from __future__ import annotations

import dataclasses
import math
import secrets
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.cluster.container import image_of
from qsmxt_app.cluster.schedulers import Options, Resources, Scheduler, scheduler_for
from qsmxt_app.cluster.scripts import CONFIG, GROUP, JOBS, SUBMIT, Scripts, write_scripts
from qsmxt_app.cluster.scripts import Study as SubmittedStudy
from qsmxt_app.cluster.tasks import ENDINGS, TABLE, Ending, Task, note_ending, read_endings, table_text
from qsmxt_app.config import to_repeat
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed, WrongUsage
from qsmxt_app.settings import MASK_METHODS, REFERENCES, Settings, setting_fields
from qsmxt_app.settings.cluster import ClusterSettings
from qsmxt_app.settings.text import to_toml
from qsmxt_app.terminal import PlainConsole, counted, printable
from qsmxt_app.workflows.machine_share import CLUSTER_CORES
from qsmxt_app.workflows.plan import RunPlan, estimate_run
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.run_folder import create_folder
from qsmxt_app.workflows.step_needs import Estimate
from qsmxt_app.workflows.study_level.group_estimate import estimate_group

MAIN_PROCESS_GB = 1.0
SHARE_OF_MEMORY = 0.9
TIME_FACTOR, LEAST_MINUTES = 6, 30
"""Time asked for, as a multiple of the estimate: nodes are slower than the machine it was measured on."""
SUBMIT_SECONDS = 300
# set by the scripts, or without meaning in a job
NOT_REPEATED = {
    *(field.name for field in dataclasses.fields(ClusterSettings)),
    *("participant_label", "session_label", "skip_bids_validation"),
    *("work_dir", "n_cpus", "mem_gb", "dry_run"),
}


@dataclass(frozen=True)
class _Submission:
    """Everything that is decided before anything is written."""

    tasks: tuple[Task, ...]
    done: tuple[Task, ...]
    scheduler: Scheduler
    study: SubmittedStudy
    scripts: Scripts
    config: str
    estimate: Estimate


def submit(request: Request, plan: RunPlan) -> int:
    """Submit a study, or with `--dry-run` print what would be submitted.

    Returns
    -------
    int
        The exit code: 0 when the scheduler has accepted the jobs.

    Raises
    ------
    WrongUsage
        The request cannot be submitted, or the scheduler is not installed.
    InputOutputFailed
        The scheduler refused.
    """
    submission = _prepare(request, plan)
    if request.settings.dry_run:
        _show(submission)
        return 0
    if not submission.tasks and _group_is_done(request.output_dir):
        _say(f"Nothing to submit: all {len(submission.done)} tasks and the group level are done.")
        return 0
    if not submission.scheduler.available and not submission.study.image:
        raise WrongUsage(
            f"--submit {request.settings.submit}: {submission.scheduler.submit} is not installed here.",
            "Run it on a node that submits jobs, or show the scripts with --dry-run.",
        )
    _write(submission, request)
    _submit_scripts(submission)
    return 0


def _prepare(request: Request, plan: RunPlan) -> _Submission:
    settings = request.settings
    options = Options(settings.account, settings.partition, settings.submit_args)
    scheduler = scheduler_for(str(settings.submit))
    config = _config(request)
    found = tasks_of(plan)
    done: tuple[Task, ...] = ()
    if settings.retry_failed:
        done = _done_before(request.output_dir.absolute(), config, scheduler, found)
    remaining = tuple(task for task in found if task not in done)
    name = f"submission-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    study = SubmittedStudy(
        request.bids_dir.absolute(),
        request.output_dir.absolute(),
        request.work_dir,
        request.output_dir.absolute() / "logs" / name,
        image_of(),
    )
    estimate = _estimate(plan, remaining)
    each = resources_of(estimate, settings)
    scripts = write_scripts(
        scheduler,
        study,
        len(remaining),
        each=each,
        group=_group_resources(each, plan, settings),
        options=options,
    )
    return _Submission(remaining, done, scheduler, study, scripts, config, estimate)


def tasks_of(plan: RunPlan) -> tuple[Task, ...]:
    """Return a task for each participant, or for each of its sessions where all scans belong to one."""
    tasks = []
    for subject in plan.subjects:
        found = [scan.acquisition.session for scan in plan.scans.get(subject, ())]
        found += [problem.session for problem in plan.problems.get(subject, ())]
        sessions = plan.sessions(subject)
        if None in sessions:
            tasks.append(Task(subject, "", len(found)))
            continue
        tasks += [Task(subject, session, found.count(session)) for session in sorted(filter(None, sessions))]
    return tuple(tasks)


def resources_of(estimate: Estimate, settings: Settings) -> Resources:
    """Return what a task asks for: the estimate with a margin for the main process and slower machines."""
    needed = (estimate.memory_gb + MAIN_PROCESS_GB) / SHARE_OF_MEMORY
    minutes = max(LEAST_MINUTES, math.ceil(TIME_FACTOR * estimate.seconds / 60))
    return Resources(settings.n_cpus or CLUSTER_CORES, settings.mem_gb or math.ceil(2 * needed) / 2, minutes)


def _group_resources(each: Resources, plan: RunPlan, settings: Settings) -> Resources:
    """Return what the group level asks for: no less memory than it needs, whatever a task may use."""
    scans = [scan.acquisition for scan in plan.all_scans]
    needed = resources_of(estimate_group(scans, settings, each.cpus), replace(settings, mem_gb=None))
    return replace(needed, memory_gb=max(needed.memory_gb, settings.mem_gb or 0.0))


def _estimate(plan: RunPlan, tasks: Sequence[Task]) -> Estimate:
    """Return the most that any of the tasks needs."""
    each = [
        estimate_run(
            [
                scan
                for scan in plan.scans.get(task.participant, ())
                if task.session in ("", scan.acquisition.session)
            ]
        )
        for task in tasks
    ] or [estimate_run([])]
    return Estimate(max(item.memory_gb for item in each), max(item.seconds for item in each))


def _config(request: Request) -> str:
    """Return the settings of the tasks as TOML; files get full paths, as jobs start in other folders."""
    values = {name: value for name, value in to_repeat(request.settings).items() if name not in NOT_REPEATED}
    for field in setting_fields():
        if field.name in values and _names_a_path(field):
            values[field.name] = _absolute(values[field.name])
    values = {name: value for name, value in values.items() if value not in ([], "")}
    return f"# of {printable(str(request.bids_dir.absolute()))}\n{to_toml(values)}"


def _names_a_path(field: dataclasses.Field[Any]) -> bool:
    metavar = field.metadata.get("metavar") or ""
    return field.metadata.get("kind") == "file" or "FILE" in metavar or "DIR" in metavar


def _absolute(value: Any) -> Any:
    """Return full paths for what exists; words such as the name of a method stay as they are."""
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    is_file = value not in (*MASK_METHODS, *REFERENCES) and Path(value).exists()
    return str(Path(value).absolute()) if is_file else value


def _last_submission(output_dir: Path) -> Path | None:
    tables = (output_dir / "logs").glob(f"submission-*/{TABLE}")
    newest = max(tables, key=lambda table: table.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def _done_before(
    output_dir: Path, config: str, scheduler: Scheduler, tasks: Sequence[Task]
) -> tuple[Task, ...]:
    """Return the tasks that the last submission finished."""
    last = _last_submission(output_dir)
    if last is None:
        raise WrongUsage(
            f"--retry-failed: nothing was submitted to {output_dir} before.",
            "Leave it out.",
        )
    if _text(last / CONFIG) != config:
        raise WrongUsage(
            f"--retry-failed: the settings differ from those in {last / CONFIG}.",
            "Give the same ones, or leave out --retry-failed to submit all participants.",
        )
    running = scheduler.unfinished(_text(last / JOBS).split())
    if running:
        raise WrongUsage(
            f"--retry-failed: job {', '.join(sorted(running))} of the last submission has not ended.",
            f"Wait until it ends, or cancel it: {scheduler.cancel} {' '.join(sorted(running))}",
        )
    names = {ending.task.name for ending in read_endings(last / TABLE) if ending.done}
    return tuple(task for task in tasks if task.name in names)


def _group_is_done(output_dir: Path) -> bool:
    last = _last_submission(output_dir.absolute())
    return last is not None and _text(last / ENDINGS / GROUP).strip() == "0"


def _write(submission: _Submission, request: Request) -> None:
    study = submission.study
    initialise_derivative(study.output_dir, study.bids_dir, __version__)
    create_folder(study.folder / ENDINGS)
    write_text(study.folder / CONFIG, submission.config)
    for task in submission.done:
        note_ending(study.folder, Ending(task, 0))
    write_text(study.folder / "command", printable(request.command) + "\n")
    for name, text in submission.scripts.files.items():
        write_text(study.folder / name, text)
    # last: a folder with a table is a submission
    write_text(study.folder / TABLE, table_text([*submission.tasks, *submission.done]))


def _submit_scripts(submission: _Submission) -> None:
    folder, scheduler = submission.study.host_folder, submission.scheduler
    _say(_summary(submission))
    if not scheduler.available:
        _say(f"{scheduler.submit} is not in this image. Submit on the host: bash {folder / SUBMIT}")
        return
    command = ["bash", str(submission.study.folder / SUBMIT)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SUBMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputOutputFailed(f"{scheduler.submit} did not answer.", f"Try: bash {command[1]}") from error
    except OSError as error:
        raise CannotCreateOutput(f"bash: {error.strerror}.", "Is it installed?") from error
    if done.returncode:
        reason = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        raise InputOutputFailed(f"{scheduler.submit} refused: {reason}", f"The scripts are in {folder}.")
    _say(done.stdout.strip())
    _say(f"Logs, one file per task: {folder}")


def _show(submission: _Submission) -> None:
    _say(_summary(submission))
    for name, text in submission.scripts.files.items():
        _say(f"\n# ---- {name}\n{text}")
    _say(f"# ---- {TABLE}\n{table_text([*submission.tasks, *submission.done])}")
    _say(f"# ---- {CONFIG}\n{submission.config}")


def _summary(submission: _Submission) -> str:
    done = f"; {len(submission.done)} are done already" if submission.done else ""
    tasks, needs = counted(len(submission.tasks), "task"), submission.estimate.text
    return f"{tasks}{':' if len(submission.tasks) == 1 else ', each'} {needs}{done}."


def _say(text: str) -> None:
    PlainConsole().print(text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
