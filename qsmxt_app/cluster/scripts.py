"""The scripts of a submission, as text. Every value is quoted for bash."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.cluster.container import Image
from qsmxt_app.cluster.schedulers import Options, Resources, Scheduler
from qsmxt_app.cluster.tasks import ENDINGS, NOT_APPLICABLE, TABLE

CONFIG = "config.toml"
JOBS = "jobs"
GROUP = "group"
SUBMIT = "submit.sh"
# what a task must know of its job inside an image too, where the environment may be cleaned
JOB_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
    "SLURM_MEM_PER_NODE",
    "SLURM_MEM_PER_CPU",
)

FIND_CONTAINER = """\
container=$(command -v apptainer || command -v singularity) || {
    echo "neither apptainer nor singularity is there: load its module before, or in ~/.bashrc" >&2
    exit 127
}
for name in %s; do
    if [ -n "${!name:-}" ]; then export "APPTAINERENV_$name=${!name}" "SINGULARITYENV_$name=${!name}"; fi
done
"""

TASK = """\
index=%(index)s
IFS=$'\\t' read -r name participant session scans < <(sed -n "$((index + 1))p" "$folder/%(table)s")
options=(--participant-label "$participant" --work-dir %(work)s)
if [ "$session" != %(not_applicable)s ]; then
    # tasks of one participant share no intermediate files
    options=(--participant-label "$participant" --session-label "$session" --work-dir %(work)s/"ses-$session")
fi
ending="$folder/%(endings)s/$name"
rm -f -- "$ending"
echo "task $index: $name on $(hostname), $(date)"

%(qsmxt)s "${options[@]}" &
child=$!
# the end of the job's time: pass it on, and wait for a clean end
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
done
echo "$code" > "$ending.$$" && mv -f -- "$ending.$$" "$ending"
echo "task $index: $name ended with exit code $code, $(date)"
exit "$code"
"""


@dataclass(frozen=True)
class Study:
    """What the jobs work on.

    Attributes
    ----------
    bids_dir, output_dir, work_dir
        Absolute, as the jobs' `qsmxt` sees them.
    folder
        Of the submission, below the output folder.
    image
        That the jobs call, if this process runs in one.
    """

    bids_dir: Path
    output_dir: Path
    work_dir: Path
    folder: Path
    image: Image | None = None

    @property
    def host_folder(self) -> Path:
        """The submission's folder where the scheduler sees it."""
        return self.image.host_path(self.folder) if self.image else self.folder

    def command(self, level: str, *options: str) -> str:
        """Return the shell words of a run, with the settings of the submission."""
        folders = (self.bids_dir, self.output_dir, _existing(self.work_dir))
        if self.image:
            program = self.image.command(folders)
        else:
            program = shlex.join([sys.executable, "-P", "-m", "qsmxt_app"])
        arguments = [self.bids_dir, self.output_dir, level, "--config", self.folder / CONFIG]
        return " ".join([program, shlex.join(map(str, arguments)), *filter(None, options)])


def _existing(path: Path) -> Path:
    """Return a folder or the nearest one above it that exists; an image refuses to bind others."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


@dataclass(frozen=True)
class Scripts:
    """Names and texts of the scripts of a submission."""

    tasks: str
    group: str
    submit: str
    suffix: str

    @property
    def files(self) -> dict[str, str]:
        """Texts by the names of their files."""
        return {f"qsmxt.{self.suffix}": self.tasks, f"{GROUP}.{self.suffix}": self.group, SUBMIT: self.submit}


def write_scripts(
    scheduler: Scheduler,
    study: Study,
    count: int,
    *,
    each: Resources,
    group: Resources,
    options: Options,
) -> Scripts:
    """Write the scripts of a submission as text.

    Parameters
    ----------
    scheduler
        For whom.
    study
        What the jobs work on.
    count
        Number of tasks in the array: the first rows of the table.
    each, group
        What a task and the job of the group level ask for.
    options
        Of the user.
    """
    log = "task-%a.log" if scheduler.name == "slurm" else ""
    return Scripts(
        _script(scheduler.directives("qsmxt", each, options, log=log), study, _task(scheduler, study, each)),
        _script(
            scheduler.directives("qsmxt-group", group, options, log="group.log"),
            study,
            _group(scheduler, study, group),
        ),
        _submit(scheduler, study, count, options),
        scheduler.name,
    )


def _script(directives: list[str], study: Study, body: str) -> str:
    container = FIND_CONTAINER % " ".join(JOB_VARIABLES) if study.image else ""
    head = ["#!/bin/bash", *directives, "", "set -u", f"folder={shlex.quote(str(study.host_folder))}"]
    return "\n".join(head) + f"\n{container}{body}"


def _task(scheduler: Scheduler, study: Study, each: Resources) -> str:
    return TASK % {
        "index": scheduler.index,
        "table": TABLE,
        "endings": ENDINGS,
        "not_applicable": NOT_APPLICABLE,
        "work": shlex.quote(str(study.work_dir)),
        "qsmxt": study.command("participant", "--skip-bids-validation", scheduler.limits(each)),
    }


def _group(scheduler: Scheduler, study: Study, group: Resources) -> str:
    submitted = f"--submitted {shlex.quote(str(study.folder / TABLE))}"
    work = f"--work-dir {shlex.quote(str(study.work_dir))}"
    command = study.command("group", submitted, work, scheduler.limits(group))
    return f'{command}\ncode=$?\necho "$code" > "$folder/{ENDINGS}/{GROUP}"\nexit "$code"\n'


def _submit(scheduler: Scheduler, study: Study, count: int, options: Options) -> str:
    """Return the script that submits the two others; qsub and sbatch get names without any oddity."""
    parsable = ["--parsable"] if scheduler.name == "slurm" else []
    words = shlex.join(options.words)

    def submission(script: str, *more: str) -> str:
        return " ".join(filter(None, [scheduler.submit, *parsable, *more, words, script]))

    suffix = scheduler.name
    lines = ["#!/bin/bash", "set -eu", f"cd -- {shlex.quote(str(study.host_folder))}"]
    if count:
        tasks = submission(f"qsmxt.{suffix}", *scheduler.array(count))
        group = submission(f"{GROUP}.{suffix}", *scheduler.after("tasks", array=count > 1))
        lines += [f"tasks=$({tasks})", "tasks=${tasks%%;*}", f'echo "$tasks" > {JOBS}']
        lines += [f'echo "Submitted: job $tasks for {count} tasks."']
        lines += ["# the group level when all of them have ended, however they ended"]
    else:
        group = submission(f"{GROUP}.{suffix}")
    lines += [f"group=$({group})", "group=${group%%;*}", f'echo "$group" >> {JOBS}']
    lines += ['echo "Submitted: job $group for the group level."', ""]
    return "\n".join(lines)
