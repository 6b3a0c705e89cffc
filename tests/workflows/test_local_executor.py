import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
from fake_nodes import fake_graph
from nipype import config

from qsmxt_app.errors import InputOutputFailed
from qsmxt_app.workflows import local_executor
from qsmxt_app.workflows.cluster_executor import executor_for
from qsmxt_app.workflows.local_executor import OUT_OF_MEMORY, GraphScheduler, LocalExecutor
from qsmxt_app.workflows.step_needs import MAIN_GB


@pytest.fixture(autouse=True)
def crash_folder(tmp_path):
    config.update_config({"execution": {"crashdump_dir": str(tmp_path / "crash"), "crashfile_format": "txt"}})


@pytest.fixture
def machine(tmp_path):
    machine = LocalExecutor(2, 2.0, tmp_path / "log")
    yield machine
    machine.stop()


def run(machine, *graphs, seconds=600):
    schedulers = [GraphScheduler(machine) for _ in graphs]
    for graph, scheduler in zip(graphs, schedulers, strict=True):
        graph.run(plugin=scheduler)
    limit = time.monotonic() + seconds
    while machine.graphs and time.monotonic() < limit:
        for scheduler in list(machine.graphs):
            scheduler.step()
        machine.wait(0.2)
    assert not machine.graphs, "the run did not end"
    return schedulers


def names(*nodes, graph="g"):
    return {f"{graph}.{node}" for node in nodes}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("kill", OUT_OF_MEMORY),
        ("segfault", "the worker was killed by SIGSEGV"),
        ("exit", "the worker ended without a result (exit code 7)"),
        ("error", "ValueError: the number is odd"),
    ],
)
def test_a_lost_worker_fails_its_node_and_nothing_else(machine, tmp_path, harm, message):
    unharmed = fake_graph("h", tmp_path)
    unharmed.remove_nodes([unharmed.get_node("third"), unharmed.get_node("fourth")])
    (scheduler, other) = run(machine, fake_graph("g", tmp_path, harm), unharmed)
    (failure,) = scheduler.failures
    assert failure.node.fullname == "g.second"
    assert message in failure.message
    assert scheduler.ended == names("first", "fourth")
    assert not other.failures
    assert other.ended == names("first", "second", graph="h")
    assert message in Path(failure.crash_file).read_text()
    assert "--mem-gb" in OUT_OF_MEMORY


class NeverBegins:
    """A process that lives and says nothing."""

    exitcode = None

    def __init__(self):
        self.alive = True

    def is_alive(self):
        return self.alive

    def kill(self):
        self.alive = False

    def join(self):
        assert not self.alive


@pytest.mark.parametrize("begins_at", [1, 3, None])
def test_a_worker_that_does_not_begin_is_started_again(monkeypatch, begins_at):
    monkeypatch.setattr(local_executor, "START_SECONDS", 0.0)
    processes, senders = [], []

    def launch():
        receiver, sender = multiprocessing.Pipe(duplex=False)
        processes.append(NeverBegins())
        senders.append(sender)
        if len(processes) == begins_at:
            sender.send(local_executor.BEGUN)
        return processes[-1], receiver

    worker = local_executor._Worker(launch)
    for _ in range((begins_at or local_executor.START_ATTEMPTS) - 1):
        assert worker.outcome() is None
    if begins_at is None:
        (line,) = worker.outcome()["traceback"]
        assert "did not start" in line
    else:
        assert [worker.outcome() for _ in range(3)] == [None] * 3
        assert processes[-1].alive
        senders[-1].send(None)
        processes[-1].kill()
        assert worker.outcome() == {"result": None, "traceback": None}
    assert len(processes) == (begins_at or local_executor.START_ATTEMPTS)
    assert not any(process.alive for process in processes)


@pytest.mark.parametrize("fails", [1, 2, 99])
def test_a_limit_on_processes_fails_the_node_with_one_line(fails):
    """What fork does then: BlockingIOError here, and EOFError where the server failed to."""
    errors = [BlockingIOError(11, "Resource temporarily unavailable"), EOFError("unexpected EOF")] * 50
    attempts = []

    def launch():
        attempts.append(len(attempts))
        if len(attempts) <= fails:
            raise errors[len(attempts)]
        receiver, sender = multiprocessing.Pipe(duplex=False)
        sender.send(None)
        return NeverBegins(), receiver

    worker = local_executor._Worker(launch)
    worker.kill()
    outcomes = [worker.outcome() for _ in range(min(fails, local_executor.START_ATTEMPTS))]
    if fails == 99:
        (line,) = outcomes[-1]["traceback"]
        assert "no process could be started" in line and "ulimit -u" in line
        assert len(attempts) == local_executor.START_ATTEMPTS
    else:
        assert set(outcomes) == {None}
        worker.process.kill()
        assert worker.outcome() == {"result": None, "traceback": None}


@pytest.mark.parametrize("harm", [signal.SIGSTOP, signal.SIGKILL])
def test_a_server_of_workers_that_hangs_or_dies_is_replaced(machine, tmp_path, monkeypatch, harm):
    monkeypatch.setattr(local_executor, "START_SECONDS", 1.0 if harm == signal.SIGSTOP else 60.0)
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, harm)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = machine._context.Process(target=sender.send, args=("here",), daemon=False)
    if harm == signal.SIGSTOP:
        with pytest.raises((OSError, EOFError)):
            local_executor._start_in_time(process)
    monkeypatch.setattr(local_executor, "START_SECONDS", 60.0)
    (scheduler,) = run(machine, fake_graph("g", tmp_path))
    assert len(scheduler.ended) == 4
    assert forkserver._forkserver._forkserver_pid != server
    receiver.close()


def test_a_machine_without_proc_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(local_executor, "MEMORY_OF_MACHINE", tmp_path / "absent")
    with pytest.raises(InputOutputFailed, match="Mount /proc"):
        LocalExecutor(2, 2.0, tmp_path / "log")


def test_finished_nodes_are_not_run_again(machine, tmp_path):
    note = tmp_path / "note"
    run(machine, fake_graph("g", tmp_path, "kill", note=str(note)))
    assert note.read_text().count("start") == 3
    (scheduler,) = run(machine, fake_graph("g", tmp_path, note=str(note)))
    assert scheduler.ended == names("first", "second", "third", "fourth")
    assert note.read_text().count("start") == 3 + 2


def most_at_once(note):
    events = sorted((float(line.split()[1]), line.split()[0]) for line in note.read_text().splitlines())
    running, most = 0, 0
    for _, what in events:
        running += 1 if what == "start" else -1
        most = max(most, running)
    return most


def test_steps_may_use_what_the_main_process_leaves(tmp_path):
    machine = executor_for(
        "MultiProc", {}, n_cpus=2, memory_gb=2.0, work_dir=tmp_path, log_file=tmp_path / "log"
    )
    assert machine.free() == (pytest.approx(2.0 - MAIN_GB), 2)
    machine.stop()


@pytest.mark.parametrize(
    ("resources", "most", "seconds"),
    [({"mem_gb": 0.1}, 2, 1.0), ({"mem_gb": 1.5}, 1, 0.3), ({"n_procs": 2}, 1, 0.3)],
)
def test_graphs_share_cores_and_memory(machine, tmp_path, resources, most, seconds):
    note = tmp_path / "note"
    graphs = [fake_graph(name, tmp_path, seconds=seconds, note=str(note), **resources) for name in "ab"]
    for graph in graphs:  # the two that wait for no other
        graph.remove_nodes([graph.get_node(name) for name in ("second", "third")])
    run(machine, *graphs)
    assert most_at_once(note) == most


def test_a_node_larger_than_the_machine_runs_alone(machine, tmp_path):
    (scheduler,) = run(machine, fake_graph("g", tmp_path, mem_gb=50, n_procs=9))
    assert len(scheduler.ended) == 4


def test_abandoned_graphs_leave_no_process(machine, tmp_path):
    scheduler = GraphScheduler(machine)
    fake_graph("g", tmp_path, seconds=30).run(plugin=scheduler)
    scheduler.step()
    processes = [worker.process for worker in machine.workers.values()]
    assert len(processes) == 2
    scheduler.abandon()
    assert scheduler.finished
    assert not any(process.is_alive() for process in processes)
    assert not machine.workers


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from fake_nodes import fake_graph
        from qsmxt_app.workflows.local_executor import GraphScheduler, LocalExecutor
        if __name__ == "__main__":
            machine = LocalExecutor(2, 2.0, Path({str(tmp_path / "log")!r}))
            scheduler = GraphScheduler(machine)
            note = {str(tmp_path / "note")!r}
            fake_graph("g", {str(tmp_path)!r}, seconds=60, note=note).run(plugin=scheduler)
            scheduler.step()
            while not Path(note).exists():
                time.sleep(0.1)
            print("pids", *(worker.process.pid for worker in machine.workers.values()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    line = next(line for line in done.stdout.splitlines() if line.startswith("pids"))
    pids = [int(word) for word in line.split()[1:]]
    assert len(pids) == 2
    limit = time.monotonic() + 120
    while any(is_running(pid) for pid in pids) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(is_running(pid) for pid in pids)


def test_a_request_cut_short_by_a_signal_writes_nothing_to_the_terminal(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys
        from multiprocessing import forkserver, reduction
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from fake_nodes import fake_graph
        from qsmxt_app.workflows.local_executor import GraphScheduler, LocalExecutor

        def interrupted(*_):
            raise KeyboardInterrupt

        if __name__ == "__main__":
            scheduler = GraphScheduler(LocalExecutor(2, 2.0, Path({str(tmp_path / "log")!r})))
            fake_graph("g", {str(tmp_path)!r}).run(plugin=scheduler)
            reduction.sendfds = interrupted
            try:
                scheduler.step()
            except KeyboardInterrupt:
                os.waitpid(forkserver._forkserver._forkserver_pid, 0)
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "EOFError" in (tmp_path / "log").read_text()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_the_server_that_forks_workers_has_one_thread(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        from multiprocessing import forkserver
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from fake_nodes import fake_graph
        from qsmxt_app.workflows.local_executor import GraphScheduler, LocalExecutor

        if __name__ == "__main__":
            scheduler = GraphScheduler(LocalExecutor(2, 2.0, Path({str(tmp_path / "log")!r})))
            fake_graph("g", {str(tmp_path)!r}).run(plugin=scheduler)
            while not scheduler.finished:
                scheduler.step()
                scheduler.machine.wait(0.2)
            print(len(list(Path("/proc", str(forkserver._forkserver._forkserver_pid), "task").iterdir())))
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "1"
