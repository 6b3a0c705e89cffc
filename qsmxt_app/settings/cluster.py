"""How a study is submitted to the scheduler of a cluster."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("On a cluster")


@dataclass(frozen=True)
class ClusterSettings:
    """How a study is submitted to the scheduler of a cluster."""

    submit: str | None = setting(
        None,
        "submit the study to the scheduler: one job per participant and session, then the group level",
        choices=("slurm", "pbs"),
    )
    account: str | None = setting(None, "account to charge the jobs to", metavar="NAME")
    partition: str | None = setting(
        None, "partition or queue of the jobs", metavar="NAME", aliases=("queue",)
    )
    submit_args: str = setting(
        "",
        "further options for sbatch or qsub, which override the generated ones, "
        "for example --submit-args='--time=2:00:00 --qos=long'",
        metavar="TEXT",
    )
    retry_failed: bool = setting(False, "submit only the jobs that the last submission did not complete")
    submitted: Path | None = setting(
        None,
        "tasks.tsv of a submission: the group level lists tasks that did not complete",
        kind="file",
    )
