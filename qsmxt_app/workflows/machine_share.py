"""How much of the machine a run uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qsmxt_app.settings import Settings
from qsmxt_app.workflows.cluster_executor import SCHEDULERS
from qsmxt_app.workflows.limits import available_cpus, available_memory_gb
from qsmxt_app.workflows.other_plugins import MULTIPROC, read_plugin

CLUSTER_CORES = 4
"""Cores of a job where --n-cpus says nothing: more would wait longer in the queue than they save."""
MOST_THREADS = 8
SHARE_OF_MEMORY = 0.9


@dataclass(frozen=True)
class MachineShare:
    """Cores and memory of a run.

    Attributes
    ----------
    n_cpus
        Cores of all steps together.
    memory_gb
        Memory that steps are planned for, GB.
    memory_limit_gb
        Memory above which a scan is not started, GB; None: no limit, as jobs run elsewhere.
    threads
        Of one step.
    plugin, plugin_arguments
        What runs the steps.
    """

    n_cpus: int
    memory_gb: float
    memory_limit_gb: float | None
    threads: int
    plugin: str = MULTIPROC
    plugin_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def runs_jobs(self) -> bool:
        """Whether each step is a job of a cluster, with cores of its own."""
        return self.plugin in SCHEDULERS


def share_machine(settings: Settings, scans: int) -> MachineShare:
    """Return how much of the machine is used; many scans run side by side, few get more cores each."""
    plugin, arguments = read_plugin(settings)
    cpus = settings.n_cpus or arguments.get("n_procs") or available_cpus()
    most = available_memory_gb()
    asked = settings.mem_gb or arguments.get("memory_gb")
    shared = max(1, min(MOST_THREADS, cpus // max(1, scans)))
    if plugin in SCHEDULERS:  # each step is a job with cores of its own
        cpus = shared = settings.n_cpus or CLUSTER_CORES
    memory = min(asked, most) if asked else SHARE_OF_MEMORY * most
    limit = memory if settings.mem_gb else memory / SHARE_OF_MEMORY
    return MachineShare(
        cpus,
        memory,
        # jobs get other machines than the one that submits them
        None if settings.submit or plugin in SCHEDULERS else limit,
        min(settings.omp_nthreads or shared, cpus),
        plugin,
        arguments,
    )
