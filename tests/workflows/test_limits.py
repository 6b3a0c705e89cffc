"""The limits of a process: control groups of both versions, schedulers, its own affinity."""

import os
import resource
import subprocess
import sys

import pytest

from qsmxt_app.workflows.limits import (
    THREAD_VARIABLES,
    available_cpus,
    available_memory_gb,
    threads_of_new_processes,
)

NOTHING = {}
MACHINE_GB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def groups(folder, own, files):
    (folder / "self").write_text(own)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/user/job_5\n", {"user/job_5/cpu.max": "400000 100000\n"}, 4),
        # the parent's is lower
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        (
            "5:cpu,cpuacct:/docker/x\n",
            {"cpu/docker/x/cpu.cfs_quota_us": "200000\n", "cpu/docker/x/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        # the container shows its own group as the root, whatever the path says
        ("0::/../../x\n", {"cpu.max": "600000 100000\n"}, 6),
    ],
)
def test_cores_of_control_groups(tmp_path, cores, own, files, expected):
    assert available_cpus(NOTHING, groups(tmp_path, own, files)) == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "max\n"}, MACHINE_GB),
        ("0::/slurm/job_5/step\n", {"slurm/job_5/memory.max": "500000000\n"}, 0.5),
        ("9:memory:/slurm/job_5\n", {"memory/slurm/job_5/memory.limit_in_bytes": "300000000\n"}, 0.3),
        ("9:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE_GB),
    ],
)
def test_memory_of_control_groups(tmp_path, own, files, expected):
    assert available_memory_gb(NOTHING, groups(tmp_path, own, files)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "12"}, 3),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "12"}, 12),
        ({"SLURM_CPUS_PER_TASK": "3"}, 64),  # left over in a shell, not a job
        ({"PBS_JOBID": "1", "NCPUS": "5"}, 5),
        ({"NCPUS": "5"}, 64),
        ({"PBS_JOBID": "1", "PBS_NUM_PPN": "7"}, 7),
        ({"SGE_TASK_ID": "undefined", "NSLOTS": "9"}, 9),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "nonsense"}, 64),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "500"}, 64),
    ],
)
def test_cores_of_schedulers(tmp_path, cores, environment, expected):
    assert available_cpus(environment, tmp_path) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "1024"}, 2**30 / 1e9),
        ({"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "0"}, MACHINE_GB),
        ({"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_PER_TASK": "2"}, 2**30 / 1e9),
        ({"SLURM_MEM_PER_NODE": "1024"}, MACHINE_GB),
    ],
)
def test_memory_of_slurm(tmp_path, cores, environment, expected):
    assert available_memory_gb(environment, tmp_path) == pytest.approx(expected)


def test_memory_of_ulimit(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2e9, 2e9))
    assert available_memory_gb(NOTHING, tmp_path) == pytest.approx(2)


def test_every_library_keeps_to_the_threads_of_its_step():
    program = """
import numpy, scipy.linalg, scipy.fft, numba, os
from threadpoolctl import threadpool_info
from qsmxt_app.workflows.resources import limited_threads
with limited_threads(2):
    pools = [pool["num_threads"] for pool in threadpool_info()]
    itk = os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]
    print(numba.get_num_threads(), scipy.fft.get_workers(), itk, *pools)
"""
    with threads_of_new_processes(2):
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    counts = told.stdout.split()
    assert len(counts) > 3
    assert set(counts) <= {"1", "2"}


def test_new_processes_make_no_more_threads_than_they_may():
    program = "import numba, os; print(numba.config.NUMBA_NUM_THREADS, os.environ['OMP_NUM_THREADS'])"
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    with threads_of_new_processes(1):
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["1", "1"]
    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before
