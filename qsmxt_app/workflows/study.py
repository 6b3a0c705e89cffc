"""All participants of a run, side by side on one machine."""

from __future__ import annotations

import gc
import logging
import shutil
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from qsmxt_app.bids.acquisition import Problem
from qsmxt_app.bids.lock import participant_lock
from qsmxt_app.errors import QsmxtError, limit_reached
from qsmxt_app.records.json_file import write_record
from qsmxt_app.records.scan import StepError, record_path, write_scan_record
from qsmxt_app.stopping import obey_stop_signals
from qsmxt_app.workflows.cluster_executor import SCHEDULERS, executor_for
from qsmxt_app.workflows.incomplete_nodes import discard_incomplete_nodes
from qsmxt_app.workflows.local_executor import GraphScheduler
from qsmxt_app.workflows.nipype_config import configure_nipype
from qsmxt_app.workflows.other_plugins import MULTIPROC, run_with_plugin
from qsmxt_app.workflows.outcome import SOMETHING_FAILED, ParticipantOutcome, ScanOutcome
from qsmxt_app.workflows.output_locks import outputs_of, page_of, write_shared_pages
from qsmxt_app.workflows.participant import ScanGraph, build_participant, build_report, work_folder
from qsmxt_app.workflows.plan import RunPlan, ScanPlan, distinct_steps
from qsmxt_app.workflows.progress import ProgressDisplay
from qsmxt_app.workflows.records import problem_record, scan_record
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.run_folder import RunFolder
from qsmxt_app.workflows.segmentation.segmentation_record import plan_by_the_mean, region_result
from qsmxt_app.workflows.step_needs import REPORT_SECONDS

POLL_SECONDS = 0.5

log = logging.getLogger("qsmxt")
_Active = dict[Generator[GraphScheduler, None, None], GraphScheduler]


@dataclass(frozen=True)
class GraphResult:
    """How the nodes of a graph ended: full names of those that did, and messages of those that failed."""

    ended: frozenset[str]
    failures: dict[str, str]


class Study:
    """Runs all participants, side by side.

    Parameters
    ----------
    request, plan
        What was asked for, and what follows from it.
    folder
        Of the run.
    """

    def __init__(self, request: Request, plan: RunPlan, folder: RunFolder) -> None:
        self.request, self.plan, self.folder = request, plan, folder
        self.settings = request.settings
        self.output_dir = request.output_dir.absolute()
        share = plan.machine
        self.executor = executor_for(
            share.plugin,
            share.plugin_arguments,
            n_cpus=share.n_cpus,
            memory_gb=share.memory_gb,
            work_dir=request.work_dir,
            log_file=folder.log_file,
        )
        steps = sum(step.seconds for step in distinct_steps(plan.all_scans))
        total = steps + REPORT_SECONDS * len(plan.subjects)
        self.display = ProgressDisplay(len(plan.subjects), total, request.verbosity)
        self.outcomes: list[ParticipantOutcome] = []
        self._costs: dict[str, float] = {}

    def run(self) -> list[ParticipantOutcome]:
        """Run all participants, as many at once as cores and memory allow, and return how each ended."""
        configure_nipype(self.folder, self.request.verbosity)
        # nipype collects garbage whenever it looks for work; what is imported by now is none
        gc.freeze()
        waiting = deque(self.plan.subjects)
        active: _Active = {}
        with ExitStack() as stack:
            stack.enter_context(self.display)
            stack.callback(self.executor.stop)
            for note in self.plan.notes:
                self.display.note(note)
            while waiting or active:
                while waiting and len(active) <= self.executor.n_procs:
                    participant = self._participant(waiting.popleft())
                    _advance(stack.enter_context(closing(participant)), active)
                for participant, scheduler in list(active.items()):
                    scheduler.step()
                    if scheduler.failures and self.settings.stop_on_first_crash:
                        waiting.clear()
                        scheduler.abandon()
                    if scheduler.finished:
                        _advance(participant, active)
                if active:
                    obey_stop_signals()
                    self.executor.wait(POLL_SECONDS)
                    self.display.heartbeat()
        self._conclude()
        return self.outcomes

    def _participant(self, subject: str) -> Generator[GraphScheduler, None, None]:
        """Process one participant: yield its graphs, each to be finished before the next is requested."""
        scans: list[ScanOutcome] = []
        try:
            held = outputs_of(self.output_dir, subject, self.plan.sessions(subject))
            with held, participant_lock(self.request.work_dir, subject):
                discard_incomplete_nodes(work_folder(self.request.work_dir, subject))
                scans += [self._problem(problem) for problem in self.plan.problems.get(subject, [])]
                if self.plan.scans.get(subject):
                    scans += yield from self._maps(subject, self.plan.scans[subject])
                scans += yield from self._report(subject)
                if self.settings.clean_workdir and not any(scan.failed for scan in scans):
                    shutil.rmtree(work_folder(self.request.work_dir, subject), ignore_errors=True)
        except QsmxtError as error:
            log.exception("sub-%s", subject)
            scans.append(ScanOutcome("", "", str(error), error.exit_code))
        except Exception as error:  # one participant must not end the others
            log.exception("sub-%s", subject)
            told = limit_reached(error)
            message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}. Please report it."
            scans.append(
                ScanOutcome("", "", str(told or message), told.exit_code if told else SOMETHING_FAILED)
            )
        outcome = ParticipantOutcome(subject, tuple(scans))
        self.outcomes.append(outcome)
        self.display.participant(subject, outcome.text)

    def _maps(
        self, subject: str, plans: Sequence[ScanPlan]
    ) -> Generator[GraphScheduler, None, list[ScanOutcome]]:
        scans, result = yield from self._scans(subject, plans)
        lost = {
            scan.name: plan
            for scan in scans
            if (plan := plan_by_the_mean(scan, result.ended, result.failures))
        }
        if lost and not self.settings.stop_on_first_crash:
            others, more = yield from self._scans(subject, list(lost.values()))
            result = GraphResult(result.ended | more.ended, result.failures | more.failures)
            scans = (*(scan for scan in scans if scan.name not in lost), *others)
        return [outcome for scan in scans for outcome in self._record(scan, result)]

    def _scans(
        self, subject: str, plans: Sequence[ScanPlan]
    ) -> Generator[GraphScheduler, None, tuple[tuple[ScanGraph, ...], GraphResult]]:
        """Run the graph of some scans."""
        graph = build_participant(
            subject,
            plans,
            bids_dir=self.request.bids_dir.absolute(),
            output_dir=self.output_dir,
            work_dir=self.request.work_dir,
        )
        for scan in graph.scans:
            if scan.plan.choice:
                choice = scan.plan.choice
                log.info("%s: preset %s: %s", scan.plan.label, choice.preset, choice.reason)
            seconds = {step.name: step.seconds for step in scan.plan.steps}
            self._costs |= {
                part.full(step): seconds[step] for part in (scan, *scan.labelling) for step in part.steps
            }
        return graph.scans, (yield from self._run_graph(graph.workflow))

    def _report(self, subject: str) -> Generator[GraphScheduler, None, list[ScanOutcome]]:
        volumes = self.settings.report_volumes
        workflow = build_report(
            subject,
            self.output_dir,
            self.request.work_dir,
            volumes=volumes,
            threads=self.plan.machine.threads,
            anew=self.settings.reports_only,
        )
        self._costs[f"{workflow.name}.report"] = REPORT_SECONDS
        with page_of(self.output_dir, subject):
            result = yield from self._run_graph(workflow)
        name = f"sub-{subject} report"
        return [
            ScanOutcome(name, "report", message, SOMETHING_FAILED) for message in result.failures.values()
        ]

    def _run_graph(self, workflow: Any) -> Generator[GraphScheduler, None, GraphResult]:
        """Yield a scheduler until its graph is finished, or run the graph with another plugin."""
        share = self.plan.machine
        if share.plugin not in (MULTIPROC, *SCHEDULERS):
            return GraphResult(*run_with_plugin(workflow, share.plugin, share.plugin_arguments))
        scheduler = GraphScheduler(self.executor, self._status)
        workflow.run(plugin=scheduler)
        yield scheduler
        failures = {failure.node.fullname: failure.message for failure in scheduler.failures}
        return GraphResult(frozenset(scheduler.ended), failures)

    def _record(self, scan: ScanGraph, result: GraphResult) -> list[ScanOutcome]:
        """Write the record of a scan; return how its maps and, where they failed, its regions ended."""
        failed = [step for step in scan.steps if f"{scan.name}.{step}" in result.failures]
        ended = [step for step in scan.steps if f"{scan.name}.{step}" in result.ended]
        notes = {step: scan.failure(step) for step in failed}
        log_file = self._relative_log()
        errors = [
            StepError(step, notes[step].get("message") or result.failures[f"{scan.name}.{step}"], log_file)
            for step in failed
        ]
        if not errors and len(ended) < len(scan.steps):
            errors = [StepError("run", "stopped before it was finished", log_file)]
        bids_dir = self.request.bids_dir.absolute()
        regions = region_result(scan, bids_dir, ended=result.ended, failures=result.failures, log=log_file)
        record = scan_record(
            scan,
            regions,
            bids_dir,
            self.output_dir,
            ended=ended,
            errors=errors,
            command=self.request.command,
        )
        if record.passes:
            log.info("%s: %s", scan.plan.label, record.passes)
            self.display.note(f"{scan.plan.label}: {record.passes}")
        for text in record.warnings:
            log.warning("%s: %s", scan.plan.label, text)
        write_scan_record(record, record_path(self.output_dir, record))
        label = scan.plan.label
        if errors:
            code = int(notes[failed[0]].get("exit_code", SOMETHING_FAILED)) if failed else SOMETHING_FAILED
            return [ScanOutcome(label, errors[0].step, errors[0].message, code)]
        return [
            ScanOutcome(label, warnings=tuple(record.warnings)),
            *(
                ScanOutcome(f"{label} regions", error.step, error.message, SOMETHING_FAILED)
                for error in regions.segmentation.errors[:1]
            ),
        ]

    def _problem(self, problem: Problem) -> ScanOutcome:
        record = problem_record(problem, self.settings, self._relative_log(), self.request.command)
        write_record(record, record_path(self.output_dir, record))
        log.error("%s", problem)
        return ScanOutcome(record.stem.replace("_", " "), "", str(problem), problem.exit_code)

    def _conclude(self) -> None:
        """Write what covers all participants."""
        try:
            write_shared_pages(self.output_dir, group=self.settings.reports_only)
        except Exception as error:  # a page that fails must not lose the outcome of the maps
            log.exception("citations and index")
            failed = ScanOutcome(
                "index.html and CITATION", "report", f"not written: {error}", SOMETHING_FAILED
            )
            self.outcomes.append(ParticipantOutcome("", (failed,)))

    def _relative_log(self) -> str:
        return self.folder.log_file.relative_to(self.output_dir).as_posix()

    def _status(self, node: Any, status: str) -> None:
        scan, _, step = node.fullname.rpartition(".")
        self.display.step(scan.rpartition(".")[2], step, status, self._costs.get(node.fullname, 0.0))


def _advance(participant: Generator[GraphScheduler, None, None], active: _Active) -> None:
    """Ask a participant for its next graph."""
    active.pop(participant, None)
    scheduler = next(participant, None)
    if scheduler is not None:
        active[participant] = scheduler
