"""What this process may use of the machine: cores and memory, by every limit that is set for it."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from qsmxt_app.environment import environment_variables
from qsmxt_app.workflows.step_needs import BYTES_PER_GB

GROUPS = Path("/sys/fs/cgroup")
THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
# cores that a scheduler gave, and a variable that is set in its jobs alone
CORE_VARIABLES = (
    ("SLURM_JOB_ID", ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")),
    ("PBS_JOBID", ("NCPUS", "PBS_NUM_PPN")),
    ("SGE_TASK_ID", ("NSLOTS",)),
    ("LSB_JOBID", ("LSB_DJOB_NUMPROC",)),
)


def available_cpus(environment: Mapping[str, str] = os.environ, groups: Path = GROUPS) -> int:
    """Return the cores that this process may use.

    They are limited by its affinity, by the quotas of its control groups (versions 1 and 2) and of those
    above them, and by what SLURM, PBS, SGE or LSF gave to the job.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [float(cores)]
    for folder in _own_groups("cpu", groups):
        quota = _numbers(folder / "cpu.max")
        if len(quota) == 1:  # "max 100000"
            continue
        quota = quota or _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        if len(quota) == 2 and quota[0] > 0:
            limits.append(quota[0] / quota[1])
    for job, names in CORE_VARIABLES:
        if job in environment:
            limits += [number for number in (_number(environment.get(name)) for name in names) if number][:1]
    return max(1, int(min(limits)))


def available_memory_gb(environment: Mapping[str, str] = os.environ, groups: Path = GROUPS) -> float:
    """Return the memory in GB that this process may use.

    It is limited by the machine, by its control groups (versions 1 and 2) and those above them, by `ulimit
    -v`, and by what SLURM gave to the job.
    """
    limits = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for folder in _own_groups("memory", groups):
        limits += _numbers(folder / "memory.max") + _numbers(folder / "memory.limit_in_bytes")
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    limits += [own] if own != resource.RLIM_INFINITY else []
    if "SLURM_JOB_ID" in environment:
        each, cores = _number(environment.get("SLURM_MEM_PER_CPU")), available_cpus(environment, groups)
        whole = _number(environment.get("SLURM_MEM_PER_NODE")) or each * cores
        limits += [whole * 2**20] if whole else []  # 0 stands for all memory of the node
    return min(limits) / BYTES_PER_GB


def threads_of_new_processes(count: int) -> AbstractContextManager[None]:
    """Keep libraries in processes that are started meanwhile from making more threads than this."""
    return environment_variables(dict.fromkeys(THREAD_VARIABLES, str(count)))


def _own_groups(controller: str, groups: Path) -> list[Path]:
    """Return the folders of this process's control groups, from its own to the root, of both versions."""
    found = [groups, groups / controller]
    for line in _text(Path("/proc/self/cgroup") if groups == GROUPS else groups / "self").splitlines():
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not names:
            root = groups
        elif controller in names.split(","):
            root = groups / controller
        else:
            continue
        inside = root / path.lstrip("/")
        while inside != root and inside.is_relative_to(root):
            found.append(inside)
            inside = inside.parent
    return found


def _numbers(file: Path) -> list[float]:
    return [float(word) for word in _text(file).split() if word.isdecimal()]


def _number(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
