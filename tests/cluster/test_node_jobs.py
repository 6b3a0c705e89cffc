"""Nodes as jobs: `--nipype-plugin SLURM`, PBS and SGE."""

import os
import pickle
import sys
import time
from pathlib import Path

import pytest
from nipype import config

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))

from fake_nodes import fake_graph

from qsmxt_app.errors import InputOutputFailed, WrongUsage
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.cluster_executor import cluster_executor, run_job
from qsmxt_app.workflows.local_executor import GraphScheduler
from qsmxt_app.workflows.other_plugins import PLUGINS, read_plugin

SECONDS = 800


@pytest.fixture
def jobs_see_the_nodes(monkeypatch, tmp_path):
    folders = [str(Path(__file__).parents[1] / "workflows"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    monkeypatch.delenv("LOGNAME", raising=False)
    config.update_config({"execution": {"crashdump_dir": str(tmp_path / "crash")}})


def run(machine, graph):
    """Run a graph to its end."""
    scheduler = GraphScheduler(machine)
    graph.run(plugin=scheduler)
    end = time.monotonic() + SECONDS
    while not scheduler.finished:
        assert time.monotonic() < end
        scheduler.step()
        machine.wait(0.2)
    return scheduler


def failures(scheduler):
    return {failure.node.name: failure.message for failure in scheduler.failures}


def test_a_run_waits_for_its_jobs_and_tells_which_failed(slurm, tmp_path, jobs_see_the_nodes):
    folder = tmp_path / "it's $(touch owned)"
    arguments = {"sbatch_args": "--partition=second", "job_finished_timeout": 1}
    machine = cluster_executor("SLURMGraph", arguments, folder, tmp_path / "log")
    scheduler = run(machine, fake_graph("graph", folder, harm="kill", mem_gb=0.2))
    assert scheduler.ended == {"graph.first", "graph.fourth"}
    assert "ended without a result" in failures(scheduler)["second"]
    assert not machine.workers
    # the same again: what is done stays done, and what an earlier job left does not count
    again = run(machine, fake_graph("graph", folder, mem_gb=0.2))
    assert again.ended == {"graph.first", "graph.second", "graph.third", "graph.fourth"}
    assert not list(tmp_path.rglob("owned"))
    assert len(list((folder / "jobs").glob("*.sh"))) == 5


def test_a_node_in_pbs(slurm, tmp_path, jobs_see_the_nodes):
    graph = fake_graph("graph", tmp_path, mem_gb=0.2)
    graph.remove_nodes([graph.get_node(name) for name in ("first", "second", "third")])
    machine = cluster_executor("PBSGraph", {"qsub_args": "-q second"}, tmp_path, tmp_path / "log")
    assert run(machine, graph).ended == {"graph.fourth"}
    # SLURM's qsub takes the name of the log from no script, PBS does
    [script] = (tmp_path / "jobs").glob("*-fourth.sh")
    assert f"#PBS -o {script.stem}.log\n" in script.read_text()


SUBMIT = """#!/bin/bash
for script; do :; done
echo "$@" >> {calls}
bash "$script" > /dev/null 2>&1
echo 'Your job 17 ("qsmxt-node") has been submitted'
"""


def test_grid_engine(tmp_path, monkeypatch, jobs_see_the_nodes):
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    (programs / "qsub").write_text(SUBMIT.format(calls=calls))
    (programs / "qstat").write_text("#!/bin/bash\necho 'job-ID prior'\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    machine = cluster_executor("SGE", {"qsub_args": "-l h_vmem=2G"}, tmp_path, tmp_path / "log")
    graph = fake_graph("graph", tmp_path, harm="error")
    graph.remove_nodes([graph.get_node(name) for name in ("first", "third")])
    graph.get_node("second").inputs.number = 1
    scheduler = run(machine, graph)
    assert "the number is odd" in failures(scheduler)["second"]
    assert scheduler.ended == {"graph.fourth"}
    assert calls.read_text().startswith("-l h_vmem=2G ")


def test_a_scheduler_that_refuses_ends_the_run(slurm, tmp_path):
    machine = cluster_executor("SLURM", {"sbatch_args": "--partition=absent"}, tmp_path, tmp_path / "log")
    with pytest.raises(InputOutputFailed, match="sbatch refused"):
        run(machine, fake_graph("graph", tmp_path))


def test_a_node_that_somebody_else_may_have_written_is_not_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    file = tmp_path / "node"
    file.write_bytes(pickle.dumps(Trap()))
    file.chmod(0o666)
    with pytest.raises(PermissionError):
        run_job(file)
    assert not (tmp_path / "owned").exists()


def test_plugins_are_known_by_their_names(tmp_path):
    for name in ("SLURM", "SLURMGraph", "PBS", "PBSGraph", "SGE", "MultiProc", "Linear"):
        assert name in PLUGINS
    file = tmp_path / "plugin.yml"
    file.write_text("plugin: SLURM\nplugin_args:\n  sbatch_args: --qos=long\n")
    assert read_plugin(Settings(nipype_plugin_file=file)) == ("SLURM", {"sbatch_args": "--qos=long"})
    with pytest.raises(WrongUsage, match="Did you mean SLURM"):
        read_plugin(Settings(nipype_plugin="SLRUM"))
