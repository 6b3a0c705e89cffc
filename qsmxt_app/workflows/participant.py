"""The graph of one participant: the same few nodes for each of its acquisitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nipype import Node, Workflow

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.settings import Settings
from qsmxt_app.workflows import nodes
from qsmxt_app.workflows.preset_choice import Choice, settings_for
from qsmxt_app.workflows.scan_steps import connect_scan, scan_nodes
from qsmxt_app.workflows.segmentation.labelled_images import LabelledImages
from qsmxt_app.workflows.segmentation.plan import SegmentationPlan, plan_segmentation
from qsmxt_app.workflows.segmentation.steps import region_steps
from qsmxt_app.workflows.step_group import Part, node_name
from qsmxt_app.workflows.step_needs import REPORT_GB, WORKER_GB


@dataclass(frozen=True)
class ScanGraph(Part):
    """An acquisition and the steps that make its maps.

    Attributes
    ----------
    acquisition
        What is processed.
    settings
        With which it is processed.
    choice
        The preset that was chosen for it, where none was given.
    plan
        How its regions are found.
    labelling
        The steps that find them, those of the T1w first.
    """

    acquisition: Acquisition
    settings: Settings
    choice: Choice | None
    plan: SegmentationPlan
    labelling: tuple[Part, ...]


@dataclass(frozen=True)
class ParticipantGraph:
    """What nipype runs for one participant.

    Attributes
    ----------
    subject
        Label without `sub-`.
    workflow
        nipype's graph.
    scans
        The acquisitions and their nodes.
    """

    subject: str
    workflow: Any
    scans: tuple[ScanGraph, ...]


def build_participant(
    subject: str,
    acquisitions: list[Acquisition],
    settings: Settings,
    *,
    bids_dir: Path,
    output_dir: Path,
    work_dir: Path,
    threads: int,
    plans: Mapping[str, SegmentationPlan] = MappingProxyType({}),
) -> ParticipantGraph:
    """Build the graph of one participant.

    Parameters
    ----------
    subject
        Label without `sub-`.
    acquisitions
        All of them are of this participant.
    settings
        Of the run.
    bids_dir, output_dir, work_dir
        The raw dataset, and where derivatives and intermediate files go.
    threads
        Cores for one step.
    plans
        How the regions of a scan are found, by its name among the nodes, where that is decided already.
    """
    workflow = Workflow(f"sub_{node_name(subject)}", base_dir=str(work_dir))
    places = {"bids_dir": bids_dir, "output_dir": output_dir}
    labelled = LabelledImages(workflow, work_dir, threads=threads, **places)
    scans = []
    for acquisition in acquisitions:
        name = node_name(f"{acquisition.stem}_{acquisition.suffix}")
        scan_workflow = Workflow(name)
        own, choice = settings_for(acquisition, settings)
        where = f"{workflow.name}.{name}"
        plan = plans.get(where) or plan_segmentation(acquisition, own)
        made = scan_nodes(acquisition, own, plan, threads=threads, **places)
        connect_scan(scan_workflow, made)
        workflow.add_nodes([scan_workflow])
        regions = region_steps(plan)
        finding = Part(where, work_dir / workflow.name / name, regions)
        scan = ScanGraph(
            finding.name,
            finding.folder,
            tuple(step for step in made if step not in regions),
            acquisition,
            own,
            choice,
            plan,
            labelled.connect(scan_workflow, made, finding, plan, acquisition, own),
        )
        made["derivatives"].overwrite = not _outputs_exist(scan, output_dir) or None
        scans.append(scan)
    return ParticipantGraph(subject, workflow, tuple(scans))


def build_report(subject: str, output_dir: Path, work_dir: Path, *, volumes: str) -> Any:
    """Build the graph that writes the report of one participant from what is on disk."""
    workflow = Workflow(f"sub_{node_name(subject)}", base_dir=str(work_dir))
    step = nodes.WriteReport(subject=subject, output_dir=str(output_dir), volumes=volumes)
    workflow.add_nodes([Node(step, "report", overwrite=True, mem_gb=WORKER_GB + REPORT_GB)])
    return workflow


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
