"""Where a run computes, and the resources that it may use."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Execution and resources")
MOST_CORES = 4096
"""More than any machine has: a typing error."""


@dataclass(frozen=True)
class RunningSettings:
    """Where a run computes, and the resources that it may use."""

    work_dir: Path | None = setting(
        None,
        "folder of intermediate files, from which a repeated command continues (default: OUTPUT_DIR/.work)",
        short="w",
        metavar="DIR",
    )
    n_cpus: int | None = setting(
        None,
        "maximum number of processor cores (default: all available)",
        aliases=("nprocs", "n-procs", "nthreads"),
        metavar="N",
        least=1,
        most=MOST_CORES,
    )
    omp_nthreads: int | None = setting(
        None,
        "maximum number of cores per step (default: shared between the scans)",
        metavar="N",
        least=1,
        most=MOST_CORES,
    )
    mem_gb: float | None = setting(
        None,
        "maximum memory in GB, or 16G, 16000M (default: nine tenths of what is available)",
        aliases=("mem",),
        metavar="GB",
        least=0.5,
    )
    nipype_plugin: str = setting(
        "MultiProc",
        "nipype execution plugin",
        metavar="NAME",
    )
    nipype_plugin_file: Path | None = setting(
        None,
        "YAML or JSON file with plugin and plugin_args, as in fMRIPrep",
        aliases=("use-plugin",),
        kind="file",
    )
    clean_workdir: bool = setting(
        False, "remove the intermediate files of participants that completed without an error"
    )
    stop_on_first_crash: bool = setting(False, "stop the run at the first error")
