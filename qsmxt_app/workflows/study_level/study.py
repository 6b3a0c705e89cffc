"""Execution of the group level: stage after stage, each a graph of independent steps."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nipype import Node, Workflow

from qsmxt_app.bids.headers import read_header
from qsmxt_app.errors import UnusableData
from qsmxt_app.stopping import obey_stop_signals
from qsmxt_app.workflows.cluster_executor import SCHEDULERS
from qsmxt_app.workflows.local_executor import GraphScheduler, LocalExecutor
from qsmxt_app.workflows.node_base import FACTS_FILE, FAILURE_FILE, Step, read_json
from qsmxt_app.workflows.other_plugins import MULTIPROC, run_with_plugin
from qsmxt_app.workflows.progress import ProgressDisplay
from qsmxt_app.workflows.step_needs import BYTES_PER_GB, WORKER_GB
from qsmxt_app.workflows.study_level.inputs import GroupScan

POLL_SECONDS = 0.5
WORKFLOW = "group"

# Peak bytes per voxel of the largest grid that a step works on, measured and rounded up.
NEEDS = {
    "prepare": 60.0,
    "align": 80.0,
    "person": 200.0,
    "rigid": 80.0,
    "affine": 80.0,
    "deform": 280.0,
    "average": 180.0,
    "update": 320.0,
    "warp": 320.0,
    "maps": 80.0,
    "labels": 60.0,
    "write": 60.0,
    "custom": 200.0,
    "change": 200.0,
    "gather": 8.0,
    "permute": 40.0,
    "statistics": 120.0,
}
DURATIONS = {
    "deform": 8.0,
    "update": 3.0,
    "affine": 3.0,
    "rigid": 2.0,
    "align": 2.0,
    "warp": 3.0,
    "permute": 60.0,
}

log = logging.getLogger("qsmxt")


@dataclass(frozen=True)
class Job:
    """One step: its kind (a row of `NEEDS`), whose it is, and the voxels that it works on."""

    kind: str
    whose: str
    step: Step
    voxels: int
    content: bool = True
    """Whether inputs are compared by content, not by time: for steps that take long and read little."""

    @property
    def name(self) -> str:
        """Name of its node."""
        whose = re.sub(r"\W", "_", self.whose.replace("+", "_plus_"))
        return f"{self.kind}_{whose}"


@dataclass
class Stages:
    """Runs jobs, as many at once as resources allow, and remembers what they noted.

    Parameters
    ----------
    work_dir
        Where they work, one folder each.
    output_dir
        Where derivatives go.
    machine
        Cores and memory.
    display
        Where progress is shown.
    plugin, plugin_arguments
        Of nipype, where it is not ours.
    """

    work_dir: Path
    output_dir: Path
    machine: LocalExecutor
    display: ProgressDisplay
    plugin: str = MULTIPROC
    plugin_arguments: dict[str, Any] = field(default_factory=dict)
    stop_on_first_crash: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Return where a job works."""
        return self.work_dir / WORKFLOW / name

    def run(self, jobs: Sequence[Job]) -> set[str]:
        """Run jobs that do not depend on each other; return the names of those that ended well."""
        if not jobs:
            return set()
        workflow = Workflow(WORKFLOW, base_dir=str(self.work_dir))
        workflow.add_nodes([self._node(job) for job in jobs])
        ended, failures = self._run_graph(workflow)
        good = set()
        for job in jobs:
            full = f"{WORKFLOW}.{job.name}"
            if full in ended and full not in failures:
                good.add(job.name)
                self._note(job)
                continue
            noted = read_json(self.folder(job.name) / FAILURE_FILE).get("message")
            self.failures[job.name] = str(noted or failures.get(full, "stopped before it was finished"))
            log.error("%s %s: %s", job.whose, job.kind, self.failures[job.name])
        return good

    def remaining(self, people: list[Person]) -> list[Person]:
        """Return participants, of whom there must be one.

        Raises
        ------
        UnusableData
            No participants remain.
        """
        if not people:
            first = next(iter(self.failures.items()), ("", "no participants remain"))
            raise UnusableData(f"no template can be made: {': '.join(filter(None, first))}.")
        return people

    def facts(self, name: str) -> dict[str, Any]:
        """Return what a job noted when it finished."""
        return read_json(self.folder(name) / FACTS_FILE)

    def _note(self, job: Job) -> None:
        facts = self.facts(job.name)
        self.timings[job.kind] = round(self.timings.get(job.kind, 0.0) + facts.get("seconds", 0.0), 3)
        self.memory_mb[job.kind] = max(self.memory_mb.get(job.kind, 0.0), facts.get("peak_mb", 0.0))

    def _node(self, job: Job) -> Any:
        memory = WORKER_GB + NEEDS[job.kind] * job.voxels / BYTES_PER_GB
        node = Node(job.step, job.name, n_procs=1, mem_gb=memory)
        node.config = {"execution": {"hash_method": "content" if job.content else "timestamp"}}
        written = self.facts(job.name).get("outputs", [])
        # nipype's cache looks at its own folder, not at what a user may have deleted from the results
        if not all((self.output_dir / path).is_file() for path in written):
            node.overwrite = True
        return node

    def _run_graph(self, workflow: Any) -> tuple[frozenset[str], dict[str, str]]:
        if self.plugin not in (MULTIPROC, *SCHEDULERS):
            return run_with_plugin(workflow, self.plugin, self.plugin_arguments)
        scheduler = GraphScheduler(self.machine, self._status)
        workflow.run(plugin=scheduler)
        while not scheduler.finished:
            scheduler.step()
            if scheduler.failures and self.stop_on_first_crash:
                scheduler.abandon()
            elif not scheduler.finished:
                obey_stop_signals()
                self.machine.wait(POLL_SECONDS)
                self.display.heartbeat()
        failed = {failure.node.fullname: failure.message for failure in scheduler.failures}
        return frozenset(scheduler.ended), failed

    def _status(self, node: Any, status: str) -> None:
        kind, _, whose = node.name.partition("_")
        self.display.step(whose, kind, status, DURATIONS.get(kind, 1.0))


def voxels_of(files: Iterable[Path]) -> int:
    """Return the voxels of the largest image."""
    return max(int(np.prod(read_header(file).shape[:3])) for file in files)


@dataclass(frozen=True)
class Person:
    """One participant, its scans averaged.

    Attributes
    ----------
    label
        Without `sub-`.
    scans
        All that were averaged.
    images
        `magnitude`, `mask`, `chi` and, where there is one, `t1w`, in the participant's own space.
    to_person
        Transform from each scan to that space.
    prepared
        Normalised magnitude of each scan.
    t1w
        Normalised T1w image in its own space, and the transform from there to the first scan.
    """

    label: str
    scans: tuple[GroupScan, ...]
    images: Mapping[str, Path]
    to_person: tuple[Path, ...]
    prepared: tuple[Path, ...]
    t1w: tuple[Path, Path] | None = None


@dataclass(frozen=True)
class Chain:
    """Transforms that follow each other, and the inverse of each; an empty text for a matrix."""

    transforms: tuple[str, ...]
    inverse_transforms: tuple[str, ...]

    def after(self, first: Path) -> Chain:
        """Return the chain with a matrix before it."""
        return Chain((str(first), *self.transforms), ("", *self.inverse_transforms))


@dataclass(frozen=True)
class BuiltTemplate:
    """A template, and the transforms of all scans to it.

    Attributes
    ----------
    images
        `magnitude`, `mask`, `chi` and, where all have one, `t1w`.
    chains
        From each participant's space to the template, by label.
    rounds
        What each deformable round noted: `change`, `shape_update_mm`.
    ended
        Why the rounds ended, in words.
    """

    images: Mapping[str, Path]
    chains: Mapping[str, Chain]
    rounds: tuple[Mapping[str, float], ...] = ()
    ended: str = ""
