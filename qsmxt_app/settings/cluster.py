"""How a study is handed to the scheduler of a cluster."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("On a cluster")


@dataclass(frozen=True)
class ClusterSettings:
    """How a study is handed to the scheduler of a cluster."""

    submit: str | None = setting(
        None,
        "hand the study to the scheduler: a task a participant (and session), then the group level",
        choices=("slurm", "pbs"),
    )
    account: str | None = setting(None, "account that pays for the jobs", metavar="NAME")
    partition: str | None = setting(
        None, "partition or queue of the jobs", metavar="NAME", aliases=("queue",)
    )
    submit_args: str = setting(
        "",
        "more options for sbatch or qsub, which win over ours: --submit-args='--time=2:00:00 --qos=long'",
        metavar="TEXT",
    )
    retry_failed: bool = setting(False, "submit only what the last submission did not finish")
    submitted: Path | None = setting(
        None,
        "tasks.tsv of a submission: the group level names whoever of it is missing",
        kind="file",
    )
