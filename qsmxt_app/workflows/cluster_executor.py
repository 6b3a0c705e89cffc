"""Nodes as jobs of a cluster, for `--nipype-plugin SLURM` and the like.

nipype's own plugins for schedulers have faults that cost results: those for graphs return before their jobs
have ended, a job that was killed before it began counts as done if an earlier run left its result, names
reach shells unquoted, PBS gets a script without an interpreter, and SLURM needs LOGNAME. So the scheduler
that starts processes on one machine starts jobs here, one a node, each asking for what its step is declared
to need.
"""

from __future__ import annotations

import json
import os
import pickle
import secrets
import shlex
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmxt_app.bids.atomic import make_folder, write_text
from qsmxt_app.cluster.schedulers import Options, Resources, Scheduler, scheduler_for
from qsmxt_app.errors import InputOutputFailed
from qsmxt_app.workflows.local_executor import LocalExecutor
from qsmxt_app.workflows.step_needs import MAIN_GB, WORKER_GB

SCHEDULERS = {
    "SLURM": "slurm",
    "SLURMGraph": "slurm",
    "PBS": "pbs",
    "PBSGraph": "pbs",
    "SGE": "sge",
    "SGEGraph": "sge",
}
MOST_JOBS = 100
QUERY_SECONDS = 5.0
GRACE_SECONDS = 30.0
"""How long the result of a job that has left the queue may take to be seen over a network file system."""
NODE_MINUTES = 240
ROOM_GB = 0.5
JOBS_FOLDER = "jobs"
OUTCOME = ".outcome.json"


@dataclass
class _Job:
    """A node in the queue; asked for its outcome as a worker process is."""

    machine: ClusterExecutor
    number: str
    file: Path
    gone_since: float | None = None

    def outcome(self) -> dict[str, Any] | None:
        """Return None while the node waits or runs, else its traceback (None after success)."""
        outcome = _read_outcome(self.file)
        if outcome is not None:
            return {"result": None, "traceback": outcome["traceback"]}
        if self.number in self.machine.queued():
            self.gone_since = None
            return None
        self.gone_since = self.gone_since or time.monotonic()
        if time.monotonic() - self.gone_since < self.machine.grace_seconds:
            return None
        log = f"{self.file}.log"
        message = f"job {self.number} ended without a result: killed, or out of memory or time; see {log}"
        return {"result": None, "traceback": [message]}

    def kill(self) -> None:
        """Take the job out of the queue."""
        subprocess.run([self.machine.scheduler.cancel, self.number], capture_output=True, check=False)


@dataclass
class ClusterExecutor(LocalExecutor):
    """A cluster instead of the cores of one machine; otherwise as `LocalExecutor`.

    Parameters
    ----------
    folder
        Where jobs find their nodes and leave their outcomes: below the work folder, which is private.
    scheduler
        That takes them.
    words
        More options for sbatch or qsub.
    grace_seconds
        See `GRACE_SECONDS`.
    """

    folder: Path = Path()
    scheduler: Scheduler = field(default_factory=lambda: scheduler_for("slurm"))
    words: tuple[str, ...] = ()
    grace_seconds: float = GRACE_SECONDS

    def __post_init__(self) -> None:
        make_folder(self.folder)
        self._last_task = 0
        self._name = secrets.token_hex(4)
        self._queued: tuple[float, frozenset[str]] = (-QUERY_SECONDS, frozenset())

    def free(self) -> tuple[float, int]:
        """Return the memory (GB) and the cores for more nodes: without limit until there are many jobs."""
        return (self.memory_gb, self.n_procs) if len(self.workers) < MOST_JOBS else (0.0, 0)

    def start(self, node: Any) -> int:
        """Submit a node; return the number of the task."""
        self._last_task += 1
        file = self.folder / f"{self._name}-{self._last_task:05d}-{node.name}"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pickle.dumps(node))
        script = file.with_name(f"{file.name}.sh")
        write_text(script, self._script(node, file))
        command = [self.scheduler.submit, *self._own_words(file), *self.words, script.name]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputOutputFailed(
                f"{self.scheduler.submit} refused: {' '.join((done.stderr or done.stdout).split())}",
                "Look at the arguments of the plugin.",
            )
        number = self.scheduler.job_of(done.stdout)
        self._queued = (time.monotonic(), self._queued[1] | {number})
        self.workers[self._last_task] = _Job(self, number, file)
        return self._last_task

    def queued(self) -> frozenset[str]:
        """Return those of all jobs that wait or run, asked for now and then."""
        if time.monotonic() - self._queued[0] > QUERY_SECONDS:
            numbers = [worker.number for worker in self.workers.values() if isinstance(worker, _Job)]
            self._queued = (time.monotonic(), frozenset(self.scheduler.unfinished(numbers)))
        return self._queued[1]

    def wait(self, seconds: float) -> None:
        """Sleep for a while."""
        time.sleep(seconds)

    def _own_words(self, file: Path) -> list[str]:
        if self.scheduler.name == "slurm":
            return ["--parsable", f"--job-name={file.name}"]
        return ["-V"] if self.scheduler.name == "pbs" else []

    def _script(self, node: Any, file: Path) -> str:
        resources = Resources(node.n_procs, node.mem_gb + ROOM_GB, NODE_MINUTES)
        directives = self.scheduler.directives("qsmxt-node", resources, Options(), log=f"{file.name}.log")
        directives = [line for line in directives if "--signal" not in line]
        python, argument = shlex.quote(sys.executable), shlex.quote(str(file))
        command = f"exec {python} -P -m qsmxt_app.run_node {argument}"
        return "\n".join(["#!/bin/bash", *directives, "", command, ""])


def executor_for(
    plugin: str,
    arguments: dict[str, Any],
    *,
    n_cpus: int,
    memory_gb: float,
    work_dir: Path,
    log_file: Path,
) -> LocalExecutor:
    """Return what nodes run on: a cluster if the plugin stands for one, else the cores of this machine."""
    if plugin in SCHEDULERS:
        return cluster_executor(plugin, arguments, work_dir, log_file)
    # a step that needs more than is left runs alone
    return LocalExecutor(n_cpus, max(WORKER_GB, memory_gb - MAIN_GB), log_file)


def cluster_executor(
    plugin: str, arguments: dict[str, Any], work_dir: Path, log_file: Path
) -> ClusterExecutor:
    """Return the cluster that a plugin of nipype stands for.

    Parameters
    ----------
    plugin
        One of `SCHEDULERS`.
    arguments
        Its `plugin_args`: `sbatch_args` or `qsub_args`, and `job_finished_timeout`.
    work_dir, log_file
        Of the run.
    """
    options = Options(extra=str(arguments.get("sbatch_args") or arguments.get("qsub_args") or ""))
    return ClusterExecutor(
        n_procs=MOST_JOBS,
        memory_gb=1e6,
        log_file=log_file,
        folder=work_dir / JOBS_FOLDER,
        scheduler=scheduler_for(SCHEDULERS[plugin]),
        words=options.words,
        grace_seconds=float(arguments.get("job_finished_timeout", GRACE_SECONDS)),
    )


def run_job(file: Path) -> int:
    """Run the node of a job, and leave its outcome beside it.

    Raises
    ------
    PermissionError
        The file belongs to somebody else or others may write it: it is code, so to say.
    """
    status = file.stat()
    if status.st_uid != os.getuid() or file.parent.stat().st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{file} may have been written by another user")
    node = pickle.loads(file.read_bytes())  # noqa: S301 (its owner was checked)
    lines = None
    try:
        node.run()
    except BaseException:
        lines = traceback.format_exc().splitlines(keepends=True)
    write_text(Path(f"{file}{OUTCOME}"), json.dumps({"traceback": lines}))
    return int(lines is not None)


def _read_outcome(file: Path) -> dict[str, Any] | None:
    try:
        # listed, because network file systems remember for a while that a file was absent
        if f"{file.name}{OUTCOME}" not in {path.name for path in file.parent.iterdir()}:
            return None
        content = json.loads(Path(f"{file}{OUTCOME}").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def main() -> int:
    """Run the node whose file is the one argument of this process."""
    return run_job(Path(sys.argv[1]))
