"""How SLURM and the PBS family are asked for jobs, in values that are checked or quoted."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from qsmxt_app.errors import WrongUsage

_NAME = re.compile(r"[\w.@+:/=-]+", re.ASCII)
QUERY_SECONDS = 60


@dataclass(frozen=True)
class Resources:
    """What a job asks for: cores, memory (GB) and time (minutes)."""

    cpus: int
    memory_gb: float
    minutes: int

    @property
    def megabytes(self) -> int:
        """Memory in MB of the schedulers (2^20 bytes), rounded up."""
        return math.ceil(self.memory_gb * 1e9 / 2**20)

    @property
    def walltime(self) -> str:
        """Hours, minutes and seconds."""
        return f"{self.minutes // 60:02d}:{self.minutes % 60:02d}:00"


@dataclass(frozen=True)
class Options:
    """What the user asks of the scheduler.

    Raises
    ------
    WrongUsage
        A name with characters that no account, partition or queue has.
    """

    account: str | None = None
    partition: str | None = None
    extra: str = ""

    def __post_init__(self) -> None:
        for option, name in (("account", self.account), ("partition", self.partition)):
            if name is not None and (not _NAME.fullmatch(name) or name.startswith("-")):
                raise WrongUsage(f"--{option} {name!r} is not a valid name for a scheduler.", "Correct it.")
        if any(not char.isprintable() for char in self.extra):
            raise WrongUsage("--submit-args holds control characters.", "Write them on one line.")
        try:
            shlex.split(self.extra)
        except ValueError as error:
            raise WrongUsage(f"--submit-args: {error}.", "Close the quotation marks.") from error

    @property
    def words(self) -> tuple[str, ...]:
        """The free-form options, split as a shell would, and nothing else of what a shell does."""
        return tuple(shlex.split(self.extra))


class Scheduler:
    """What differs from one scheduler to the other."""

    name: ClassVar[str]
    submit: ClassVar[str]
    cancel: ClassVar[str]
    index: ClassVar[str]
    """Bash words that give the number of the task."""

    def directives(self, job: str, resources: Resources, options: Options, *, log: str) -> list[str]:
        """Return the lines by which a script asks for what it needs."""
        raise NotImplementedError

    def array(self, count: int) -> list[str]:
        """Return the words that make a script an array of `count` tasks."""
        raise NotImplementedError

    def after(self, variable: str, *, array: bool) -> list[str]:
        """Return shell words, quoted already, that let a job wait for the end of another, however it ends."""
        raise NotImplementedError

    def limits(self, resources: Resources) -> str:
        """Return options by which a task keeps to what its job got, where the environment does not say it."""
        raise NotImplementedError

    def unfinished(self, jobs: Iterable[str]) -> set[str]:
        """Return those of some jobs that wait or run. A scheduler that does not answer knows none."""
        raise NotImplementedError

    def job_of(self, answer: str) -> str:
        """Return the job's number from what the submitting command says; raise ValueError if it is none."""
        found = re.search(r"\d[\w.\[\]-]*", answer)
        if found is None:
            raise ValueError(f"no job number in {answer!r}")
        return found.group()

    @property
    def available(self) -> bool:
        """Whether jobs can be submitted from here."""
        return shutil.which(self.submit) is not None


class Slurm(Scheduler):
    """SLURM."""

    name, submit, cancel = "slurm", "sbatch", "scancel"
    index = "${SLURM_ARRAY_TASK_ID:-1}"

    def directives(self, job: str, resources: Resources, options: Options, *, log: str) -> list[str]:
        """Return `#SBATCH` lines; a job is told two minutes before its time is over."""
        lines = [
            f"--job-name={job}",
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={resources.cpus}",
            f"--mem={resources.megabytes}M",
            f"--time={resources.walltime}",
            f"--output={log}",
            "--signal=B:TERM@120",
        ]
        lines += [f"--account={options.account}"] if options.account else []
        lines += [f"--partition={options.partition}"] if options.partition else []
        return [f"#SBATCH {line}" for line in lines]

    def array(self, count: int) -> list[str]:
        """Return `--array`."""
        return [f"--array=1-{count}"]

    def after(self, variable: str, *, array: bool) -> list[str]:
        """Return `--dependency`."""
        return [f'--dependency="afterany:${variable}"']

    def limits(self, resources: Resources) -> str:
        """Return nothing: SLURM_* variables tell a job what it got."""
        return ""

    def unfinished(self, jobs: Iterable[str]) -> set[str]:
        """Ask squeue, which forgets a job some minutes after its end."""
        answer = _answer("squeue", f"--user={os.getuid()}", "--noheader", "--format=%F")
        return set(jobs) & set(answer.split())


class Pbs(Scheduler):
    """OpenPBS and PBS Pro."""

    name, submit, cancel = "pbs", "qsub", "qdel"
    # the last is what qsub of SLURM leaves
    index = "${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${SLURM_ARRAY_TASK_ID:-1}}}"

    def directives(self, job: str, resources: Resources, options: Options, *, log: str) -> list[str]:
        """Return `#PBS` lines; without a name for them PBS names logs, a file a task."""
        lines = [f"-N {job}", "-j oe", "-S /bin/bash", *self._sizes(resources)]
        lines += [f"-o {log}"] if log else []
        lines += [f"-A {options.account}"] if options.account else []
        lines += [f"-q {options.partition}"] if options.partition else []
        return [f"#PBS {line}" for line in lines]

    def _sizes(self, resources: Resources) -> list[str]:
        size = f"select=1:ncpus={resources.cpus}:mem={resources.megabytes}mb"
        return [f"-l {size}", f"-l walltime={resources.walltime}"]

    def array(self, count: int) -> list[str]:
        """Return `-J`; PBS knows no array of one."""
        return ["-J", f"1-{count}"] if count > 1 else []

    def after(self, variable: str, *, array: bool) -> list[str]:
        """Return `-W depend`."""
        return ["-W", f'depend="afterany:${variable}"']

    def limits(self, resources: Resources) -> str:
        """Return the cores and the memory: not every PBS tells them to a job."""
        return f"--n-cpus {resources.cpus} --mem-gb {0.9 * resources.memory_gb:.1f}"

    def unfinished(self, jobs: Iterable[str]) -> set[str]:
        """Ask qstat; what it does not know, or shows as completed or finished, has ended."""
        return {job for job in jobs if _waits_or_runs(_answer("qstat", job), job)}


class Torque(Pbs):
    """Torque, whose arrays and sizes are spelled differently."""

    def _sizes(self, resources: Resources) -> list[str]:
        return [
            f"-l nodes=1:ppn={resources.cpus}",
            f"-l mem={resources.megabytes}mb",
            f"-l walltime={resources.walltime}",
        ]

    def array(self, count: int) -> list[str]:
        """Return `-t`; as for PBS, a single task is not an array: jobs that depend on it need to know."""
        return ["-t", f"1-{count}"] if count > 1 else []

    def after(self, variable: str, *, array: bool) -> list[str]:
        """Return `-W depend`, which has a word of its own for arrays."""
        return ["-W", f'depend="afterany{"array" if array else ""}:${variable}"']


class GridEngine(Scheduler):
    """SGE and its descendants, for single jobs. Sizes have names that differ from site to site."""

    name, submit, cancel = "sge", "qsub", "qdel"
    index = "${SGE_TASK_ID:-1}"

    def directives(self, job: str, resources: Resources, options: Options, *, log: str) -> list[str]:
        """Return `#$` lines."""
        lines = [f"-N {job}", "-j y", "-S /bin/bash", "-V", "-cwd", *([f"-o {log}"] if log else [])]
        return [f"#$ {line}" for line in lines]

    def unfinished(self, jobs: Iterable[str]) -> set[str]:
        """Ask qstat, which lists what waits or runs."""
        listed = {line.split()[0] for line in _answer("qstat").splitlines() if line.strip()}
        return set(jobs) & listed


def scheduler_for(name: str) -> Scheduler:
    """Return a scheduler; for PBS, the kind whose qsub is there, OpenPBS where none is."""
    if name == "sge":
        return GridEngine()
    if name == "slurm":
        return Slurm()
    version = _answer("qsub", "--version").lower()
    return Torque() if "version:" in version and "pbs_version" not in version else Pbs()


def _waits_or_runs(table: str, job: str) -> bool:
    """Whether qstat shows a job in another state than completed (C), finished (F, X) or exiting (E)."""
    number = job.partition(".")[0].partition("[")[0]
    first = re.compile(rf"{re.escape(number)}[.\[ ]")
    rows = [line.split() for line in table.splitlines() if first.match(line)]
    return any(len(row) >= 5 and row[4] not in {"C", "F", "X", "E"} for row in rows)


def _answer(*command: str) -> str:
    """Return what a command of the scheduler prints; nothing where it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
