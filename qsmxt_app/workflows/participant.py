"""The graph of one participant: the same few nodes for each of its acquisitions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype import Node, Workflow

from qsmxt_app.bids.atomic import plain
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.records.json_file import to_json
from qsmxt_app.records.scan import described, read_records
from qsmxt_app.workflows import nodes
from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.scan_steps import connect_scan, scan_nodes
from qsmxt_app.workflows.segmentation.labelled_images import LabelledImages
from qsmxt_app.workflows.step_group import StepGroup, node_name
from qsmxt_app.workflows.step_needs import REPORT_GB, WORKER_GB


@dataclass(frozen=True)
class ScanGraph(StepGroup):
    """A scan and the steps that make its maps.

    Attributes
    ----------
    plan
        What was planned for it.
    labelling
        The steps that find its regions, those of the T1w first.
    """

    plan: ScanPlan
    labelling: tuple[StepGroup, ...]


@dataclass(frozen=True)
class ParticipantGraph:
    """What nipype runs for one participant.

    Attributes
    ----------
    workflow
        nipype's graph.
    scans
        The scans and their nodes.
    """

    workflow: Any
    scans: tuple[ScanGraph, ...]


def build_participant(
    subject: str, scans: Sequence[ScanPlan], *, bids_dir: Path, output_dir: Path, work_dir: Path
) -> ParticipantGraph:
    """Build the graph of one participant.

    Parameters
    ----------
    subject
        Label without `sub-`.
    scans
        All of them are of this participant.
    bids_dir, output_dir, work_dir
        The raw dataset, and where derivatives and intermediate files go.
    """
    workflow = Workflow(_workflow_name(subject), base_dir=str(work_dir))
    folders = {"bids_dir": bids_dir, "output_dir": output_dir}
    labelled = LabelledImages(workflow, work_dir, **folders)
    graphs = []
    for plan in scans:
        name = node_name(f"{plan.acquisition.stem}_{plan.acquisition.suffix}")
        scan_workflow = Workflow(name)
        made = scan_nodes(plan, **folders)
        connect_scan(scan_workflow, made)
        workflow.add_nodes([scan_workflow])
        full, folder = f"{workflow.name}.{name}", work_dir / workflow.name / name
        regions = StepGroup(full, folder, tuple(step.name for step in plan.regions))
        maps = tuple(step.name for step in plan.maps)
        graph = ScanGraph(full, folder, maps, plan, labelled.connect(scan_workflow, made, regions, plan))
        made["derivatives"].overwrite = not _outputs_exist(graph, output_dir) or None
        graphs.append(graph)
    return ParticipantGraph(workflow, tuple(graphs))


def build_report(
    subject: str, output_dir: Path, work_dir: Path, *, volumes: str, threads: int = 1, anew: bool = False
) -> Any:
    """Build the graph that writes the report of one participant from what is on disk.

    Parameters
    ----------
    subject
        Label without `sub-`.
    output_dir, work_dir
        Where derivatives are, and where intermediate files go.
    volumes
        Those of the viewer.
    threads
        Of the step, which runs alone.
    anew
        Whether the page is written although nothing has changed since it was.
    """
    workflow = Workflow(_workflow_name(subject), base_dir=str(work_dir))
    step = nodes.WriteReport(
        subject=subject, output_dir=str(output_dir), volumes=volumes, state=_state(output_dir, subject)
    )
    written = (output_dir / f"sub-{subject}.html").is_file()
    node = Node(step, "report", overwrite=anew or not written or None, mem_gb=WORKER_GB + REPORT_GB)
    node.inputs.num_threads = threads
    workflow.add_nodes([node])
    return workflow


def _state(output_dir: Path, subject: str) -> str:
    """Digest of what a page is made from: what the records say, and size and time of the files they name."""
    digest = hashlib.sha256()
    for record in read_records(output_dir, subject):
        digest.update(json.dumps(described(plain(to_json(record)))).encode())
        for name in record.outputs:
            path = record.output(output_dir, name)
            state = path.stat() if path else None
            digest.update(f"{name} {state and (state.st_size, state.st_mtime_ns)}".encode())
    return digest.hexdigest()


def work_folder(work_dir: Path, subject: str) -> Path:
    """Return where all nodes of a participant work."""
    return work_dir / _workflow_name(subject)


def _workflow_name(subject: str) -> str:
    return f"sub_{node_name(subject)}"


def _outputs_exist(scan: ScanGraph, output_dir: Path) -> bool:
    """Whether all images that an earlier run wrote are still there; nipype's cache does not look at them."""
    written = scan.facts("derivatives").get("outputs", {}).values()
    return all(
        (output_dir / path).is_file() and sidecar_path(output_dir / path).is_file() for path in written
    )
