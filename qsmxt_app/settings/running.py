"""Where and with how much of a machine a run goes."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Running")


@dataclass(frozen=True)
class RunningSettings:
    """Where and with how much of a machine a run goes."""

    work_dir: Path | None = setting(
        None,
        "intermediate files; the same command goes on from there (default: OUTPUT_DIR/.work)",
        short="w",
        metavar="DIR",
    )
    n_cpus: int | None = setting(
        None,
        "processor cores to use (default: all that this process may use)",
        aliases=("nprocs", "n-procs", "nthreads"),
        metavar="N",
        least=1,
    )
    omp_nthreads: int | None = setting(
        None, "most cores for one step (default: shared between the scans)", metavar="N", least=1
    )
    mem_gb: float | None = setting(
        None,
        "memory to use in GB, or 16G, 16000M (default: 90 %% of what this process may use)",
        aliases=("mem",),
        metavar="GB",
        least=0.5,
    )
    nipype_plugin: str = setting(
        "MultiProc",
        "nipype's execution plugin",
        metavar="NAME",
    )
    nipype_plugin_file: Path | None = setting(
        None,
        "YAML or JSON file with 'plugin' and 'plugin_args', as for fMRIPrep",
        aliases=("use-plugin",),
        kind="file",
    )
    clean_workdir: bool = setting(
        False, "remove the intermediate files of every participant that ended without a failure"
    )
    stop_on_first_crash: bool = setting(False, "stop everything at the first failure")
