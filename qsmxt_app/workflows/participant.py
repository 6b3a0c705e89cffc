"""The graph of one participant: the same few nodes for each of its acquisitions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype import Node, Workflow

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.settings import Settings
from qsmxt_app.workflows import nodes
from qsmxt_app.workflows.node_base import FACTS_FILE, FAILURE_FILE, read_json
from qsmxt_app.workflows.preset_choice import Choice, settings_for
from qsmxt_app.workflows.resources import REPORT_GB, WORKER_GB
from qsmxt_app.workflows.scan_steps import connect_scan, scan_nodes


@dataclass(frozen=True)
class Scan:
    """An acquisition, and where its steps work.

    Attributes
    ----------
    acquisition
        What is processed.
    name
        Full name of its workflow in nipype: that of a node is followed by a dot and the step.
    folder
        Where its nodes work, one folder a step.
    steps
        Names of its steps, in their order.
    settings
        With which it is processed.
    choice
        The preset that was chosen for it, where none was given.
    """

    acquisition: Acquisition
    name: str
    folder: Path
    steps: tuple[str, ...]
    settings: Settings
    choice: Choice | None = None

    def facts(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it finished; empty before."""
        return read_json(self.folder / step / FACTS_FILE)

    def failure(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it failed; empty if it did not, or was killed."""
        return read_json(self.folder / step / FAILURE_FILE)


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
    scans: tuple[Scan, ...]


def build_participant(
    subject: str,
    acquisitions: list[Acquisition],
    settings: Settings,
    *,
    bids_dir: Path,
    output_dir: Path,
    work_dir: Path,
    threads: int,
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
    """
    workflow = Workflow(f"sub_{_node_name(subject)}", base_dir=str(work_dir))
    scans = []
    for acquisition in acquisitions:
        name = _node_name(f"{acquisition.stem}_{acquisition.suffix}")
        scan_workflow = Workflow(name)
        own, choice = settings_for(acquisition, settings)
        made = scan_nodes(acquisition, own, bids_dir, output_dir, threads)
        connect_scan(scan_workflow, made)
        workflow.add_nodes([scan_workflow])
        folder = work_dir / workflow.name / name
        scan = Scan(acquisition, f"{workflow.name}.{name}", folder, tuple(made), own, choice)
        made["derivatives"].overwrite = not _outputs_exist(scan, output_dir) or None
        scans.append(scan)
    return ParticipantGraph(subject, workflow, tuple(scans))


def build_report(subject: str, output_dir: Path, work_dir: Path) -> Any:
    """Build the graph that writes the report of one participant from what is on disk."""
    workflow = Workflow(f"sub_{_node_name(subject)}", base_dir=str(work_dir))
    step = nodes.WriteReport(subject=subject, output_dir=str(output_dir))
    workflow.add_nodes([Node(step, "report", overwrite=True, mem_gb=WORKER_GB + REPORT_GB)])
    return workflow


def _outputs_exist(scan: Scan, output_dir: Path) -> bool:
    """Whether all images that an earlier run wrote are still there; nipype's cache does not look at them."""
    written = scan.facts("derivatives").get("outputs", {}).values()
    return all(
        (output_dir / path).is_file() and sidecar_path(output_dir / path).is_file() for path in written
    )


def _node_name(text: str) -> str:
    return re.sub(r"\W", "_", text.replace("+", "_plus_"))
