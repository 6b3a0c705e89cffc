"""The group level from the arguments to the exit code."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.bids.lock import named_lock
from qsmxt_app.errors import QsmxtError
from qsmxt_app.group.csv_text import read_tsv_file
from qsmxt_app.group.tables import assemble, scan_rows
from qsmxt_app.private_folder import PRIVATE
from qsmxt_app.records.group import MissingScan, RegionalModel, VoxelwiseModel
from qsmxt_app.report.citation import write_citations
from qsmxt_app.report.study.page import build_group_report
from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows.cluster_executor import executor_for
from qsmxt_app.workflows.incomplete_nodes import discard_incomplete_nodes
from qsmxt_app.workflows.machine_share import share_machine
from qsmxt_app.workflows.nipype_config import configure_nipype
from qsmxt_app.workflows.outcome import SOMETHING_FAILED
from qsmxt_app.workflows.output_locks import write_shared_pages
from qsmxt_app.workflows.progress import ProgressDisplay
from qsmxt_app.workflows.request import Request
from qsmxt_app.workflows.run_folder import (
    RunFolder,
    create_folder,
    create_run_folder,
    log_to,
    stop_logging,
)
from qsmxt_app.workflows.study_level.average_participants import average_participants
from qsmxt_app.workflows.study_level.build import TemplateBuilder
from qsmxt_app.workflows.study_level.custom_segmentation import custom_segmentation_on
from qsmxt_app.workflows.study_level.finish import Finisher, WarpedScan
from qsmxt_app.workflows.study_level.group_record import GroupResult, write_group_record
from qsmxt_app.workflows.study_level.inputs import GroupScan
from qsmxt_app.workflows.study_level.longitudinal import measure_changes, write_changes
from qsmxt_app.workflows.study_level.plan import GroupPlan, plan_group, show_plan
from qsmxt_app.workflows.study_level.regional_model import model_lines, write_model
from qsmxt_app.workflows.study_level.study import DURATIONS, WORKFLOW, BuiltTemplate, Person, Stages
from qsmxt_app.workflows.study_level.voxelwise import VoxelwiseInputs, compare_voxels, voxelwise_lines

log = logging.getLogger("qsmxt")


def run_group(request: Request) -> int:
    """Run the group level.

    Returns
    -------
    int
        The exit code: 1 if a step of the group level failed. Participants without results of their own are
        named, and are not a failure of the group.

    Raises
    ------
    QsmxtError
        What keeps a run from starting.
    """
    if request.settings.reports_only:
        build_group_report(request.output_dir.absolute())
        return 0
    if request.settings.boilerplate_only:
        print(f"Methods: {write_citations(request.output_dir.absolute())[0]}")
        return 0
    plan = plan_group(request)
    if request.settings.dry_run:
        request.check_folders(plan.raw)
        show_plan(plan, request)
        return 0
    output_dir = request.output_dir.absolute()
    request.check_work_dir()
    initialise_derivative(output_dir, plan.raw, __version__)
    folder = create_run_folder(output_dir, request.settings, request.command)
    create_folder(request.work_dir, PRIVATE)
    handler = log_to(folder, request.verbosity)
    try:
        log.info("%s", request.command)
        with named_lock(output_dir, "group"), named_lock(request.work_dir, "group"):
            return GroupLevel(request, plan, folder).run()
    except Exception:
        log.exception("the run ended early")
        raise
    finally:
        stop_logging(handler)


class GroupLevel:
    """One run of the group level."""

    def __init__(self, request: Request, plan: GroupPlan, folder: RunFolder) -> None:
        self.request, self.plan, self.folder = request, plan, folder
        self.settings, self.output_dir = request.settings, request.output_dir.absolute()
        self.missing: list[MissingScan] = list(plan.study.missing)
        self.people: list[Person] = []
        self.template: BuiltTemplate | None = None
        self.warped: dict[str, list[WarpedScan]] = {}
        self.outputs: dict[str, Any] = {}
        self.model: RegionalModel | None = None
        self.voxelwise: VoxelwiseModel | None = None

    def run(self) -> int:
        """Run all stages; return the exit code."""
        for one in self.plan.inconsistent_settings:
            log.warning("%s", one)
        configure_nipype(self.folder, self.request.verbosity)
        share = share_machine(self.settings, len(self.plan.study.scans))
        discard_incomplete_nodes(self.request.work_dir / WORKFLOW)
        with ExitStack() as stack:
            machine = executor_for(
                share.plugin,
                share.plugin_arguments,
                n_cpus=share.n_cpus,
                memory_gb=share.memory_gb,
                work_dir=self.request.work_dir,
                log_file=self.folder.log_file,
            )
            stack.callback(machine.stop)
            display = stack.enter_context(self._display())
            stages = Stages(
                self.request.work_dir,
                self.output_dir,
                machine,
                display,
                share.plugin,
                share.plugin_arguments,
                self.settings.stop_on_first_crash,
            )
            problems = self._results(stages)
        problems |= self._model(self._tables())
        result = self._result(stages, problems)
        log_file = self.folder.log_file.relative_to(self.output_dir).as_posix()
        write_group_record(result, self.output_dir, self.settings, self.request.command, log_file)
        return self._conclude(replace(result, failures={**result.failures, **self._pages()}))

    def _result(self, stages: Stages, problems: Mapping[str, str]) -> GroupResult:
        return GroupResult(
            plan_name=self.plan.name,
            existing=self.settings.template_from,
            people=tuple(self.people),
            template=self.template,
            model=self.model,
            voxelwise=self.voxelwise,
            missing=tuple(self.missing),
            inconsistent_settings=self.plan.inconsistent_settings,
            failures={**stages.failures, **problems},
            outputs=self.outputs,
            timings=stages.timings,
            memory_mb=stages.memory_mb,
            group_by=self.plan.group_by,
            groups=self.plan.groups,
        )

    def _pages(self) -> dict[str, str]:
        """Write the pages; a page that fails does not stop the rest."""
        try:
            build_group_report(self.output_dir)
            write_shared_pages(self.output_dir)
        except Exception as error:
            log.exception("group.html and index.html")
            return {"report": f"not written: {type(error).__name__}: {error}"}
        return {}

    def _results(self, stages: Stages) -> dict[str, str]:
        """Make the template and measure the custom segmentation; return what went wrong with either."""
        parts = {
            "template": self._make_template if self.settings.template else None,
            "voxel-wise statistics": self._compare_voxels if self.settings.model_voxelwise else None,
            "custom segmentation": self._measure_custom if self.plan.custom is not None else None,
        }
        problems = {}
        for name, part in parts.items():
            try:
                if part is not None:
                    part(stages)
            except QsmxtError as error:
                log.exception("%s", name)
                problems[name] = str(error)
        return problems

    def _make_template(self, stages: Stages) -> None:
        builder = TemplateBuilder(stages, self.settings)
        self.people = average_participants(stages, self.plan.study.participants)
        if changes := measure_changes(stages, self.people, self.plan.phenotypes.sessions):
            self.outputs["change"] = write_changes(changes, self.output_dir)
        if self.plan.existing is None:
            self.template = builder.build(self.people)
        else:
            self.template = builder.bring_to(self.people, self.plan.existing.images)
        finisher = self._finisher(stages)
        self.warped = finisher.warp(self.people, self.template)
        self.outputs["similarity"] = {
            one.scan.stem: one.similarity for several in self.warped.values() for one in several
        }
        self.outputs["template"] = finisher.write(self.people, self.template)
        self.outputs["maps"] = finisher.average(self.warped)
        self.outputs["labels"] = finisher.labels(self.warped)

    def _compare_voxels(self, stages: Stages) -> None:
        if self.plan.design is None or not self.warped:
            return
        written = {name: self.output_dir / path for name, path in self.outputs.get("template", {}).items()}
        images = self.template.images if self.template else {}
        labels = [self.output_dir / path for path in self.outputs.get("labels", {}).values()]
        inputs = VoxelwiseInputs(
            self.plan.design, self.warped, written.get("mask") or images.get("mask"), next(iter(labels), None)
        )
        self.voxelwise = compare_voxels(stages, self.settings, self.plan.name, inputs)
        for line in voxelwise_lines(self.voxelwise) if self.voxelwise else ():
            log.info("%s", line)

    def _measure_custom(self, stages: Stages) -> None:
        custom, scans = self.plan.custom, self.plan.study.scans
        if custom is None:
            return
        warped = [one for several in self.warped.values() for one in several]
        like = warped[0].maps["chi"] if warped else None
        on = custom_segmentation_on(custom, self.settings, scans, like, self.plan.name)
        measured = self._finisher(stages).measure_custom(custom, on, scans, warped)
        self.outputs["custom"] = {
            stem: path.relative_to(self.output_dir).as_posix() for stem, path in measured.items()
        }

    def _finisher(self, stages: Stages) -> Finisher:
        return Finisher(stages, self.settings, self.plan.name, existing=self.plan.existing is not None)

    def _tables(self) -> str:
        """Write the regional values of all scans; return the tidy table."""
        # read one by one: those of hundreds of participants would fill the memory twice
        rows = (
            row
            for scan in self.plan.study.scans
            for file in filter(None, [scan.files.get("stats"), self._custom_table(scan)])
            for row in scan_rows(scan.entities, read_tsv_file(file))
        )
        tables = assemble(rows, self.plan.phenotypes.participants, self.plan.phenotypes.sessions)
        for name, content in (("group_stats.csv", tables.tidy), ("group_stats_wide.csv", tables.wide)):
            write_text(self.output_dir / name, content)
        self.outputs["tables"] = {
            "tidy": "group_stats.csv",
            "wide": "group_stats_wide.csv",
            "rows": tables.rows,
        }
        return tables.tidy

    def _model(self, table: str) -> dict[str, str]:
        """Compare regional values as asked for; return what went wrong."""
        if self.plan.design is None:
            return {}
        try:
            self.model = write_model(
                self.plan.design.formula, self.settings, table, self.plan.raw, self.output_dir
            )
        except QsmxtError as error:
            log.exception("model")
            return {"model": str(error)}
        for line in model_lines(self.model):
            log.info("%s", line)
        return {}

    def _custom_table(self, scan: GroupScan) -> Path | None:
        relative = self.outputs.get("custom", {}).get(scan.stem)
        return self.output_dir / relative if relative else None

    def _display(self) -> ProgressDisplay:
        people = len(self.plan.study.participants)
        cost = people * (6 + DURATIONS["deform"] * self.settings.template_rounds)
        return ProgressDisplay(people, cost, self.request.verbosity)

    def _conclude(self, result: GroupResult) -> int:
        code = SOMETHING_FAILED if result.failures else 0
        if code or self.request.verbosity >= 0:
            console = PlainConsole(stderr=True)
            for line in _summary(result, self.plan, self.outputs):
                console.print(line)
            where = f"Log to read: {self.folder.log_file}" if code else f"Results: {self.request.output_dir}"
            console.print(where)
        return code


def _summary(result: GroupResult, plan: GroupPlan, outputs: dict[str, Any]) -> list[str]:
    people, scans = len(plan.study.participants), len(plan.study.scans)
    lines = [f"group: {people} participant{'s' * (people != 1)}, {scans} scan{'s' * (scans != 1)}"]
    if result.template is not None:
        rounds = len(result.template.rounds)
        lines.append(f"template {plan.name}: {rounds} deformable rounds; {result.template.ended}")
    if not outputs["tables"]["rows"]:
        lines.append("group_stats.csv is empty: no participant has regional values (segmentation)")
    lines += model_lines(result.model) if result.model else []
    lines += voxelwise_lines(result.voxelwise) if result.voxelwise else []
    lines += map(str, plan.inconsistent_settings)
    lines += [f"left out: {one.scan or f'sub-{one.participant}'}: {one.reason}" for one in result.missing]
    lines += [f"failed: {name.replace('_', ' ')}: {message}" for name, message in result.failures.items()]
    return lines
