"""nipype plugin that gives each node a process of its own and survives the loss of any of them.

nipype's MultiProc waits for ever when the kernel kills a worker: the broken pool raises in a callback, the
result never arrives, and nothing checks for it. Here a dead process is a failed node with a message, the
other nodes go on, and the memory that a process reports is that of its one node. Several graphs share the
cores and the memory, one graph a participant, so that a study of hundreds never becomes one graph of
thousands of nodes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from qsmxt_app.environment import environment_variables, outside_current_folder
from qsmxt_app.errors import MORE_PROCESSES, InputOutputFailed
from qsmxt_app.workflows.limits import threads_of_new_processes

START_METHOD = "forkserver"
PRELOADED = ("qsmxt_app.workflows.preloading", "qsmxt_app.report.participant")
"""Modules that workers share instead of importing them each."""
THREADING = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""For libraries that start threads on import: the server forks without; steps set their own number. Threads
that wait must sleep, because steps side by side have more threads together than there are cores."""
MEMORY_OF_MACHINE = Path("/proc/meminfo")
"""Read by nipype."""
START_SECONDS, START_ATTEMPTS = 300.0, 3
"""For a process to begin: it takes a tenth of a second, and on a machine at its limit some more."""
BEGUN = "begun"
"""First message of a worker."""
NOT_STARTED = "no process could be started"
OUT_OF_MEMORY = "the worker was killed, probably out of memory: lower --n-cpus or raise --mem-gb"
StatusCallback = Callable[[Any, str], None]


class Worker(Protocol):
    """What runs a node."""

    def outcome(self) -> dict[str, Any] | None:
        """Return None while the node runs, else its traceback (None after success) as nipype wants it."""

    def kill(self) -> None:
        """End it at once."""


class _Worker:
    """A process of one node; one that does not begin is killed, and another one tried."""

    def __init__(self, launch: Callable[[], tuple[Any, Connection]]) -> None:
        self._launch = launch
        self._attempts = 0
        self._start()

    def _start(self) -> None:
        self._attempts += 1
        self._begun, self._since = False, time.monotonic()
        self.process: Any = None
        try:
            self.process, self.connection = self._launch()
        except (OSError, EOFError, RuntimeError) as error:
            self._failure = str(error)

    def outcome(self) -> dict[str, Any] | None:
        """Return None while the node runs, else its traceback (None after success) as nipype wants it."""
        if self.process is None:
            return self._again([f"{NOT_STARTED} ({self._failure}): {MORE_PROCESSES}"])
        if not self.connection.poll():
            if self.process.is_alive() or self.connection.poll():
                return None if self._begun else self._late()
            return self._finished(_last_words(self.process.exitcode))
        try:
            message = self.connection.recv()
        except EOFError:
            self.process.join()
            return self._finished(_last_words(self.process.exitcode))
        if message == BEGUN:
            self._begun = True
            return None
        return self._finished(message)

    def _late(self) -> dict[str, Any] | None:
        """Start again where a process did not begin in time; give up after some attempts."""
        if time.monotonic() - self._since < START_SECONDS:
            return None
        self.kill()
        return self._again([f"the worker did not start within {START_SECONDS:g} s, {self._attempts} times"])

    def _again(self, lines: list[str]) -> dict[str, Any] | None:
        if self._attempts == START_ATTEMPTS:
            return {"result": None, "traceback": lines}
        self._start()
        return None

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()
            self._finished(None)

    def _finished(self, lines: list[str] | None) -> dict[str, Any]:
        self.process.join()
        self.connection.close()
        return {"result": None, "traceback": lines}


@dataclass
class LocalExecutor:
    """The cores and memory that all graphs of a run share, and the workers that use them.

    Parameters
    ----------
    n_procs
        Cores.
    memory_gb
        Memory in GB.
    log_file
        Where workers write what they print.
    """

    n_procs: int
    memory_gb: float
    log_file: Path
    graphs: list[GraphScheduler] = field(default_factory=list)
    workers: dict[int, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if sys.platform == "linux" and not MEMORY_OF_MACHINE.exists():
            raise InputOutputFailed(
                f"{MEMORY_OF_MACHINE} is missing: the memory of the machine cannot be read.",
                "Mount /proc, as containers do by default.",
            )
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._context.set_forkserver_preload(list(PRELOADED))
        self._serve()
        self._last_task = 0

    def _serve(self) -> None:
        """Start the server that forks workers, where none runs."""
        # a request that is cut short by a signal makes the server write a traceback: not to the terminal
        with (
            _errors_to(self.log_file),
            threads_of_new_processes(self.n_procs),
            environment_variables(THREADING),
            outside_current_folder(),
        ):
            forkserver.ensure_running()

    def free(self) -> tuple[float, int]:
        """Return the memory (GB) and the cores that no running node has claimed."""
        busy = [node for graph in self.graphs for node in graph.running_nodes()]
        memory = self.memory_gb - sum(min(node.mem_gb, self.memory_gb) for node in busy)
        return max(0.0, memory), max(0, self.n_procs - sum(min(node.n_procs, self.n_procs) for node in busy))

    def start(self, node: Any) -> int:
        """Run a node in a new process; return the number of the task."""

        def launch() -> tuple[Any, Connection]:
            receiver, sender = self._context.Pipe(duplex=False)
            arguments = (sender, node, str(self.log_file))
            process = self._context.Process(target=_work, args=arguments, daemon=False)
            self._serve()
            with sender:
                _start_in_time(process)
            return process, receiver

        self._last_task += 1
        self.workers[self._last_task] = _Worker(launch)
        return self._last_task

    def wait(self, seconds: float) -> None:
        """Wait until a worker reports or ends, at most this long."""
        if self.workers:
            connections = [
                worker.connection
                for worker in self.workers.values()
                if isinstance(worker, _Worker) and worker.process is not None
            ]
            wait(connections, timeout=seconds)

    def stop(self) -> None:
        """Kill the workers that are still at work. Their nodes are run again by the next run."""
        for worker in self.workers.values():
            worker.kill()
        self.workers.clear()


@dataclass(frozen=True)
class Failure:
    """A node that failed, and where nipype wrote how."""

    node: Any
    message: str
    crash_file: str


class GraphScheduler(MultiProcPlugin):
    """Scheduler of one graph on a machine that it shares with other graphs.

    `nipype.Workflow.run(plugin=scheduler)` hands the graph over and returns at once; then `step` is called
    until `finished`.

    Parameters
    ----------
    machine
        What the graphs share.
    status
        Called with a node and "start", "end" or "exception".
    """

    def __init__(self, machine: LocalExecutor, status: StatusCallback | None = None) -> None:
        self.pending_tasks: list[tuple[int, int]] = []
        super().__init__(
            plugin_args={
                "n_procs": machine.n_procs,
                "memory_gb": machine.memory_gb,
                "n_gpu_procs": 0,
                "raise_insufficient": False,
                "status_callback": status,
            }
        )
        self.pool.shutdown()
        self.machine = machine
        self.failures: list[Failure] = []
        self.ended: set[str] = set()
        self._graph: Any = None

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Take over the graph. Nothing is started before the first `step`."""
        self._config, self._graph = config, graph
        self.mapnodes: list[int] = []
        self.mapnodesubids: dict[int, int] = {}
        self._run_errors: list[Any] = []
        self._prerun_check(graph)
        self._generate_dependency_list(graph)
        self.machine.graphs.append(self)

    @property
    def finished(self) -> bool:
        """Whether every node has ended or cannot be run."""
        return bool(np.all(self.proc_done) and not np.any(self.proc_pending))

    def running_nodes(self) -> list[Any]:
        """Return the nodes that are being run."""
        return [self.procs[job] for _, job in self.pending_tasks]

    def step(self) -> None:
        """Collect what has ended, then start what can be started."""
        still_running: list[tuple[int, int]] = []
        for task, job in self.pending_tasks:
            outcome = self.machine.workers[task].outcome()
            if outcome is None:
                still_running.append((task, job))
                continue
            del self.machine.workers[task]
            if outcome["traceback"]:
                self._clean_queue(job, self._graph, result=outcome)
            else:
                self._task_finished_cb(job)
        self.pending_tasks = still_running
        self._start_ready()
        if self.finished:
            self.machine.graphs.remove(self)

    def _start_ready(self) -> None:
        """Start what can be started; results from an earlier run may make more nodes ready at once."""
        done = -1
        while np.count_nonzero(self.proc_done) > done:
            done = int(np.count_nonzero(self.proc_done))
            self._send_procs_to_workers(graph=self._graph)

    def abandon(self) -> None:
        """Give up: what runs is killed, what waits is not started."""
        for task, _ in self.pending_tasks:
            self.machine.workers.pop(task).kill()
        self.pending_tasks = []
        self.proc_done[:], self.proc_pending[:] = True, False
        if self in self.machine.graphs:
            self.machine.graphs.remove(self)

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        super()._task_finished_cb(jobid, cached=cached)
        self.ended.add(self.procs[jobid].fullname)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        return self.machine.start(node)

    def _check_resources(self, running_tasks: Any) -> tuple[float, int, int]:
        return (*self.machine.free(), 0)

    def _clean_queue(self, jobid: int, graph: Any, result: dict[str, Any] | None = None) -> Any:
        lines = (result or {}).get("traceback") or traceback.format_exc().splitlines()
        # nipype adds its own lines below, and frames the traceback with empty ones
        message = next((line.strip() for line in reversed(lines) if line.strip()), "failed without a message")
        if "start new thread" in message:
            message = f"{message}: {MORE_PROCESSES}"
        cleaned = super()._clean_queue(jobid, graph, result=result)
        self.failures.append(Failure(self.procs[jobid], message, cleaned["crashfile"]))
        return cleaned


def _start_in_time(process: Any) -> None:
    """Ask the server for a process; a server that does not answer is killed, and starts again next time.

    Raises
    ------
    OSError, EOFError, RuntimeError
        If no process was started.
    """
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            process.start()
        except BaseException as error:
            failed.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(START_SECONDS)
    if asking.is_alive():
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
        asking.join()
    if failed:
        raise failed[0]


def _last_words(exit_code: int | None) -> list[str]:
    if exit_code is not None and -exit_code == signal.SIGKILL:
        return [OUT_OF_MEMORY]
    if exit_code is not None and exit_code < 0:
        return [f"the worker was killed by {signal.Signals(-exit_code).name}"]
    return [f"the worker ended without a result (exit code {exit_code})"]


def _work(connection: Connection, node: Any, log_file: str) -> None:
    """Run one node; what it prints goes to the log, and it does not outlive the process that asked for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _print_to(log_file)
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        connection.send(BEGUN)
        node.run()
        outcome = None
    except BaseException:
        outcome = traceback.format_exc().splitlines(keepends=True)
    connection.send(outcome)
    connection.close()


def _print_to(log_file: str) -> None:
    descriptor = _open_log(log_file)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


@contextmanager
def _errors_to(log_file: Path) -> Iterator[None]:
    """Let processes that are started meanwhile write their errors to the log."""
    terminal, descriptor = os.dup(2), _open_log(str(log_file))
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(descriptor)
        os.close(terminal)


def _open_log(log_file: str) -> int:
    return os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
