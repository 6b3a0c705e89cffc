"""The scripts of a submission in a real queue: SLURM's own, and PBS by SLURM's qsub."""

import subprocess

import pytest
from slurm_here import states, wait_for
from test_scripts import noted, study_in

from qsmxt_app.cluster.schedulers import Options, Pbs, Resources, Scheduler, Slurm
from qsmxt_app.cluster.scripts import write_scripts
from qsmxt_app.cluster.tasks import read_endings

SMALL = Resources(1, 0.2, 5)
SECONDS = 120
# the second task fails, the third is killed with its script
PROGRAM = """\
import os, signal, sys
if "--session-label" in sys.argv:
    if sys.argv[sys.argv.index("--session-label") + 1] == "A":
        sys.exit(65)
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("scheduler", [Slurm(), Pbs()], ids=["slurm", "pbs"])
def test_the_group_follows_its_tasks_however_they_end(slurm, tmp_path, monkeypatch, scheduler: Scheduler):
    study, calls = study_in(tmp_path, "a $(touch owned) 'b", monkeypatch)
    program = tmp_path / "program"
    first, rest = program.read_text().split("\n", maxsplit=1)
    program.write_text(f"{first}\n{PROGRAM}{rest}")
    options = Options(partition="second", extra="-p second" if scheduler.name == "slurm" else "")
    scripts = write_scripts(scheduler, study, 3, each=SMALL, group=SMALL, options=options)
    for name, text in scripts.files.items():
        (study.folder / name).write_text(text)
    command = ["bash", str(study.folder / "submit.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    jobs = (study.folder / "jobs").read_text().split()
    assert len(jobs) == 2
    assert scheduler.unfinished(jobs) <= set(jobs)
    for job in jobs:
        wait_for(job, SECONDS)
    assert states(jobs[0]) == {"1": "COMPLETED", "2": "FAILED", "3": "FAILED"}
    assert [ending.code for ending in read_endings(study.folder / "tasks.tsv")] == [0, 65, None]
    levels = [word for call in noted(calls) for word in call["argv"] if word in ("participant", "group")]
    assert levels == ["participant", "group"]
    assert not scheduler.unfinished(jobs)
    logs = "".join(path.read_text() for path in study.folder.glob("*[0-9]*") if path.is_file())
    assert "sub-02_ses-A ended with exit code 65" in logs
    assert not list(tmp_path.rglob("owned"))
