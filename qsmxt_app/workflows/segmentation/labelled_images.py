"""The images of a participant that are labelled, each once for all scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype import Workflow

from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.segmentation.steps import anatomy_nodes, connect_anatomy, links
from qsmxt_app.workflows.step_group import StepGroup, node_name


class LabelledImages:
    """Adds the steps that label a T1w to the graph of a participant, and connects scans with them.

    Parameters
    ----------
    workflow
        Of the participant.
    work_dir, bids_dir, output_dir
        Where intermediate files and derivatives go, and the raw dataset.
    """

    def __init__(self, workflow: Any, work_dir: Path, *, bids_dir: Path, output_dir: Path) -> None:
        self._workflow, self._work_dir, self._output_dir = workflow, work_dir, output_dir
        self._folders = {"bids_dir": bids_dir, "output_dir": output_dir}
        self._known: dict[Path, tuple[Any, StepGroup]] = {}

    def connect(
        self, scan_workflow: Any, made: dict[str, Any], regions: StepGroup, scan: ScanPlan
    ) -> tuple[StepGroup, ...]:
        """Connect a scan with the steps that label its T1w, or the magnitude where there is none.

        Returns
        -------
        tuple of StepGroup
            All steps that find the regions of the scan, in their order.
        """
        plan = scan.segmentation
        if not plan.runs:
            return ()
        for step in ("regions", *(("spaces",) if plan.spaces else ())):
            made[step].overwrite = not regions.outputs_exist(step, self._output_dir) or None
        if plan.t1w is None:
            nodes = anatomy_nodes(scan, **self._folders)
            connect_anatomy(scan_workflow, nodes, plan)
            scan_workflow.connect(made["prepare"], "magnitude", nodes["prepare_t1w"], "magnitude")
            for source, target in links(plan):
                (step, output), (other, trait) = source.split("."), target.split(".")
                scan_workflow.connect(nodes[step], output, made[other], trait)
            return StepGroup(regions.name, regions.folder, tuple(nodes)), regions
        if plan.t1w not in self._known:
            self._known[plan.t1w] = self._label(scan, plan.t1w)
        workflow, part = self._known[plan.t1w]
        self._workflow.connect([(workflow, scan_workflow, links(plan))])
        return part, regions

    def _label(self, scan: ScanPlan, t1w: Path) -> tuple[Any, StepGroup]:
        name = node_name(t1w.name.split(".")[0])
        workflow = Workflow(name)
        nodes = anatomy_nodes(scan, **self._folders)
        connect_anatomy(workflow, nodes, scan.segmentation)
        self._workflow.add_nodes([workflow])
        folder = self._work_dir / self._workflow.name / name
        part = StepGroup(f"{self._workflow.name}.{name}", folder, tuple(nodes))
        nodes["write_t1w"].overwrite = not part.outputs_exist("write_t1w", self._output_dir) or None
        return workflow, part
