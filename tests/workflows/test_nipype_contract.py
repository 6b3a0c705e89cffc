"""What `GraphScheduler` relies on in nipype's `MultiProcPlugin`, of which most is private and may change."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_nodes import fake_graph
from nipype import config
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from qsmxt_app.workflows import local_executor
from qsmxt_app.workflows.local_executor import GraphScheduler

OVERRIDDEN = ("_check_resources", "_clean_queue", "_submit_job", "_task_finished_cb")
USED = ("_prerun_check", "_generate_dependency_list", "_send_procs_to_workers")
ATTRIBUTES = ("_config", "_run_errors", "_graph")  # the last is ours


class Plugin(MultiProcPlugin):
    """nipype's own scheduler with what ours replaces, and a note of how it is called."""

    def __init__(self, free: tuple[float, int, int] = (10.0, 8, 0)) -> None:
        self.events: list[tuple[str, str]] = []
        self.submitted: list[Any] = []
        self.finished: list[tuple[int, bool]] = []
        self.free = free
        super().__init__(
            {
                "n_procs": 8,
                "memory_gb": 10.0,
                "n_gpu_procs": 0,
                "raise_insufficient": False,
                "status_callback": lambda node, status: self.events.append((node.name, status)),
            }
        )
        self.pool.shutdown()

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        self._config, self.graph = config, graph
        self.mapnodes, self.mapnodesubids, self._run_errors = [], {}, []
        self._prerun_check(graph)
        self._generate_dependency_list(graph)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self.submitted.append(node)
        return 100 + len(self.submitted)

    def _check_resources(self, running_tasks: Any) -> tuple[float, int, int]:
        return self.free

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        self.finished.append((jobid, cached))
        super()._task_finished_cb(jobid, cached=cached)

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.procs]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """A plugin that has taken over the chain first -> second -> third, and a lone fourth."""
    config.update_config({"execution": {"crashdump_dir": str(tmp_path / "crash"), "crashfile_format": "txt"}})
    made = Plugin()
    fake_graph("graph", tmp_path).run(plugin=made)
    return made


def test_these_are_all_private_members_that_we_touch() -> None:
    tree = ast.parse(inspect.getsource(local_executor))
    scheduler = next(
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "GraphScheduler"
    )
    touched = {
        node.attr
        for node in ast.walk(scheduler)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Call)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }
    overridden = {
        name for name in vars(GraphScheduler) if name.startswith("_") and hasattr(MultiProcPlugin, name)
    }
    assert {name for name in overridden if not name.startswith("__")} == set(OVERRIDDEN)
    ours = {name for name in vars(GraphScheduler) if not hasattr(MultiProcPlugin, name)}
    assert touched - ours == {*OVERRIDDEN, *USED, *ATTRIBUTES} - {"_check_resources", "_submit_job"}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_methods_take_what_nipype_gives(name: str) -> None:
    def parameters(owner: type) -> list[tuple[str, Any]]:
        found = inspect.signature(getattr(owner, name)).parameters.values()
        return [(parameter.name, parameter.default) for parameter in found]

    assert parameters(GraphScheduler) == parameters(MultiProcPlugin)


def test_the_constructor_makes_a_pool_that_has_started_nothing() -> None:
    pool = Plugin().pool
    assert not pool._processes


def test_generate_dependency_list_makes_the_arrays(plugin: Plugin) -> None:
    assert sorted(plugin.names) == ["first", "fourth", "second", "third"]
    assert plugin.proc_done.dtype == plugin.proc_pending.dtype == bool
    assert plugin.proc_done.tolist() == plugin.proc_pending.tolist() == [False] * 4
    assert plugin.pending_tasks == []


def test_prerun_check_only_warns_of_nodes_that_are_too_large(tmp_path: Path) -> None:
    fake_graph("graph", tmp_path, mem_gb=1e6, n_procs=1000).run(plugin=Plugin())
    strict = Plugin()
    strict.raise_insufficient = True
    with pytest.raises(RuntimeError, match="Insufficient"):
        fake_graph("again", tmp_path, mem_gb=1e6).run(plugin=strict)


def test_send_procs_to_workers_submits_what_is_ready_and_notes_its_task(plugin: Plugin) -> None:
    plugin._send_procs_to_workers(graph=plugin.graph)
    assert sorted(node.name for node in plugin.submitted) == ["first", "fourth"]
    assert sorted(plugin.events) == [("first", "start"), ("fourth", "start")]
    assert sorted(task for task, _ in plugin.pending_tasks) == [101, 102]
    for task, job in plugin.pending_tasks:
        assert plugin.procs[job].name == plugin.submitted[task - 101].name
        assert plugin.proc_done[job] and plugin.proc_pending[job]


@pytest.mark.parametrize(("free", "started"), [((0.0, 8, 0), 0), ((10.0, 0, 0), 0), ((10.0, 1, 0), 1)])
def test_check_resources_decides_what_is_submitted(
    plugin: Plugin, free: tuple[float, int, int], started: int
) -> None:
    plugin.free = free
    plugin._send_procs_to_workers(graph=plugin.graph)
    assert len(plugin.submitted) == started


def test_task_finished_makes_the_next_node_ready(plugin: Plugin) -> None:
    plugin._send_procs_to_workers(graph=plugin.graph)
    plugin._task_finished_cb(plugin.names.index("first"))
    assert ("first", "end") in plugin.events
    assert not plugin.proc_pending[plugin.names.index("first")]
    plugin._send_procs_to_workers(graph=plugin.graph)
    assert plugin.submitted[-1].name == "second"


def test_nodes_with_results_are_finished_without_being_submitted(tmp_path: Path) -> None:
    graph = fake_graph("graph", tmp_path)
    graph.run(plugin="Linear")
    graph.config["execution"]["local_hash_check"] = "true"
    plugin = Plugin()
    graph.run(plugin=plugin)
    for _ in range(3):
        plugin._send_procs_to_workers(graph=plugin.graph)
    assert plugin.submitted == []
    assert sorted(plugin.finished) == [(job, True) for job in range(4)]
    assert np.all(plugin.proc_done) and not np.any(plugin.proc_pending)


def test_clean_queue_writes_a_crash_file_and_gives_up_what_depends_on_the_node(plugin: Plugin) -> None:
    plugin._send_procs_to_workers(graph=plugin.graph)
    result = {"result": None, "traceback": ["ValueError: the number is odd"]}
    cleaned = plugin._clean_queue(plugin.names.index("first"), plugin.graph, result=result)
    assert "the number is odd" in Path(cleaned["crashfile"]).read_text(errors="replace")
    assert ("first", "exception") in plugin.events
    assert plugin.proc_done.tolist() == [True] * 4
    assert [plugin.procs[job].name for job in np.flatnonzero(plugin.proc_pending)] == ["fourth"]
