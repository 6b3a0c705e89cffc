"""A study through `--submit slurm` of which one task is killed and one runs out of memory, then retried.

    python tests/cluster/killed_study.py 8

does it with 8 participants and prints what happened.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))

from filelock import SoftFileLease
from mini_dataset import write_mini_dataset
from slurm_here import running_slurm, states, wait_for

OPTIONS = ("--preset", "fast", "--segmentation", "none", "--no-template", "--skip-bids-validation")
JOB_OPTIONS = ("--n-cpus", "1", "--mem-gb", "2", "--submit", "slurm")
SECONDS = 900.0
# python runs this at its start: the task of one participant takes more memory than its job has
BALLOON = """\
import os, sys, time
here = os.environ.get("SLURM_ARRAY_TASK_ID") == "{task}" and "qsmxt_app" in sys.orig_argv
if here and os.path.exists({flag!r}):
    balloon = bytearray(os.urandom(1000)) * 3_000_000
    time.sleep(60)
"""


@dataclass
class KilledStudy:
    """What happened at each stage."""

    raw: Path
    out: Path
    killed: str
    out_of_memory: str
    first_states: dict[str, str] = field(default_factory=dict)
    first_group_log: str = ""
    retry_told: str = ""
    second_states: dict[str, str] = field(default_factory=dict)
    second_group_log: str = ""


def run_study(folder: Path, subjects: tuple[str, ...]) -> KilledStudy:
    """Submit, kill the task of the second to last participant, let the last burst, retry.

    The first participant has two sessions, so that two tasks write one participant.
    """
    raw = write_mini_dataset(folder / "raw", subjects, echoes=2)
    into_sessions(raw, subjects[0], ("A", "B"))
    study = KilledStudy(raw, folder / "out", f"sub-{subjects[-2]}", f"sub-{subjects[-1]}")
    flag, count = folder / "burst", len(subjects) + 1
    flag.touch()
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BALLOON.format(task=count, flag=str(flag)))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "NUMBA_NUM_THREADS": "1",
    }
    submission, jobs = _submit(study, environment)
    _kill_when_at_work(study, jobs[0])
    study.first_states = _finish(jobs)
    study.first_group_log = (submission / "group.log").read_text()
    flag.unlink()
    submission, jobs = _submit(study, environment, "--retry-failed")
    study.retry_told = (submission / "tasks.tsv").read_text()
    study.second_states = _finish(jobs)
    study.second_group_log = (submission / "group.log").read_text()
    return study


def local_run(study: KilledStudy, out: Path) -> int:
    """Process the same study without SLURM."""
    command = [sys.executable, "-m", "qsmxt_app", str(study.raw), str(out), "participant", *OPTIONS]
    return subprocess.run([*command, "--n-cpus", "2", "-q"], check=False).returncode


def results(out: Path) -> dict[str, bytes]:
    """Content of all images, sidecars and tables by their names."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.glob("sub-*/**/*"))
        if path.is_file() and path.suffix in (".gz", ".json", ".tsv") and path.parent.name != "figures"
    }


def into_sessions(raw: Path, subject: str, sessions: tuple[str, ...]) -> None:
    """Give a participant without sessions several ones with the same data."""
    files = [path for path in (raw / f"sub-{subject}").glob("*/*") if path.is_file()]
    for session in sessions:
        for path in files:
            name = path.name.replace(f"sub-{subject}_", f"sub-{subject}_ses-{session}_", 1)
            target = raw / f"sub-{subject}" / f"ses-{session}" / path.parent.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for path in files:
        path.unlink()
    for folder in {path.parent for path in files}:
        folder.rmdir()


def _submit(study: KilledStudy, environment: dict[str, str], *more: str) -> tuple[Path, list[str]]:
    command = [sys.executable, "-m", "qsmxt_app", str(study.raw), str(study.out), "participant"]
    done = subprocess.run(
        [*command, *OPTIONS, *JOB_OPTIONS, *more],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    submission = max(study.out.glob("logs/submission-*"))
    return submission, (submission / "jobs").read_text().split()


def _kill_when_at_work(study: KilledStudy, job: str) -> None:
    end = time.monotonic() + SECONDS
    while not list((study.out / ".work").glob(f"{study.killed.replace('-', '_')}/*/prepare/facts.json")):
        if time.monotonic() > end:
            raise TimeoutError(f"{study.killed} did not start: {states(job)}")
        time.sleep(0.2)
    # scancel asks for a clean end first: the script and its run are killed by their numbers instead
    owner = SoftFileLease(study.out / ".locks" / f"{study.killed}.lock").owner
    if owner is None:
        raise RuntimeError(f"nobody holds the lock of {study.killed}")
    run = owner.pid
    script = int(Path(f"/proc/{run}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(script, signal.SIGKILL)
    os.kill(run, signal.SIGKILL)


def _finish(jobs: list[str]) -> dict[str, str]:
    for job in jobs:
        wait_for(job, SECONDS)
    return states(jobs[0])


def _main() -> None:
    subjects = tuple(f"{number:02d}" for number in range(1, int(sys.argv[1]) + 1))
    with tempfile.TemporaryDirectory() as name, running_slurm(Path(name) / "slurm"):
        study = run_study(Path(name), subjects)
        code = local_run(study, Path(name) / "local")
        here, there = results(Path(name) / "local"), results(study.out)
        different = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        print(f"{len(subjects)} participants, {len(study.first_states)} tasks: {study.first_states}")
        print(f"group job:\n{study.first_group_log}")
        print(f"retry: {study.second_states}\n{study.retry_told}\ngroup job:\n{study.second_group_log}")
        print(f"local run: exit code {code}; {len(here)} files compared, different: {different or 'none'}")


if __name__ == "__main__":
    _main()
