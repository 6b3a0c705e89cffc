"""The scripts of a submission, run by bash with programs that write down how they were called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qsmxt_app.cluster import schedulers
from qsmxt_app.cluster.container import Bind, Image, image_of
from qsmxt_app.cluster.schedulers import Options, Pbs, Resources, Slurm, Torque, scheduler_for
from qsmxt_app.cluster.scripts import Study, write_scripts
from qsmxt_app.cluster.tasks import Ending, Task, read_endings, read_tasks, table_text
from qsmxt_app.errors import NoInput, WrongUsage

HOSTILE = [
    "plain",
    "with space",
    "it's",
    'a "quoted" one',
    "$(touch owned)",
    "`touch owned`",
    "a;touch owned;b",
    "a\ntouch owned\n#SBATCH --account=theirs",
    "-rf",
    "%a %j %%",
    "back\\slash",
    "\x1b[31mred",
    "*",
    "${HOME}",
    "ümlaut",
    "!history",
]
TASKS = (Task("01"), Task("02", "A", 3), Task("02", "B"))
EACH, GROUP = Resources(2, 4.0, 90), Resources(4, 8.0, 125)
DUMP = f"""#!{sys.executable}
import json, os, sys
with open({{path!r}}, "a") as stream:
    names = [name for name in os.environ if "SLURM" in name]
    given = {{{{name: os.environ[name] for name in names}}}}
    stream.write(json.dumps({{{{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": given}}}}) + "\\n")
print({{answer!r}})
sys.exit({{code}})
"""


def fake(path, calls, code=0, answer=""):
    """A program that notes its arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(DUMP.format(path=str(calls), code=code, answer=answer))
    path.chmod(0o755)


def noted(calls):
    return [json.loads(line) for line in calls.read_text().splitlines()]


def study_in(folder, name, monkeypatch, image=None):
    """A study in folders with a hostile name, whose scripts call a program that notes its arguments."""
    calls = folder / "calls"
    fake(folder / "program", calls)
    monkeypatch.setattr(sys, "executable", str(folder / "program"))
    out = folder / name / "out"
    study = Study(folder / name / "raw", out, out / "work", out / "logs" / "submission-1", image)
    (study.folder / "ended").mkdir(parents=True)
    (study.folder / "tasks.tsv").write_text(table_text(TASKS))
    return study, calls


def written(scheduler, study, options=None, count=3):
    return write_scripts(scheduler, study, count, each=EACH, group=GROUP, options=options or Options())


def bash(text, cwd, **environment):
    script = cwd / "script"
    script.write_text(text)
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["bash", str(script)], cwd=cwd, env=clean | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("scheduler", [Slurm(), Pbs(), Torque()], ids=["slurm", "pbs", "torque"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_reach_the_command_as_they_are(tmp_path, monkeypatch, scheduler, name):
    study, calls = study_in(tmp_path, name, monkeypatch)
    scripts = written(scheduler, study)
    variable = {"slurm": "SLURM_ARRAY_TASK_ID", "pbs": "PBS_ARRAY_INDEX"}[scheduler.name]
    done = bash(scripts.tasks, tmp_path, **{variable: "2"})
    assert done.returncode == 0, done.stderr
    assert (study.folder / "ended" / "sub-02_ses-A").read_text() == "0\n"
    assert bash(scripts.group, tmp_path).returncode == 0
    assert (study.folder / "ended" / "group").read_text() == "0\n"
    task, group = (call["argv"] for call in noted(calls))
    common = ["-P", "-m", "qsmxt_app", str(study.bids_dir), str(study.output_dir)]
    assert task[:6] == [*common, "participant"]
    assert task[6:8] == ["--config", str(study.folder / "config.toml")]
    label = task.index("--participant-label")
    assert task[label : label + 4] == ["--participant-label", "02", "--session-label", "A"]
    assert task[-2:] == ["--work-dir", str(study.work_dir / "ses-A")]
    assert group[:6] == [*common, "group"]
    assert group[group.index("--submitted") + 1] == str(study.folder / "tasks.tsv")
    assert not list(tmp_path.rglob("owned"))
    # schedulers read directives up to the first command, and no name stands before it
    lines = scripts.tasks.split("\nset -u\n", maxsplit=1)[0].splitlines()
    log = "task-%a.log" if scheduler.name == "slurm" else ""
    assert lines[1:] == scheduler.directives("qsmxt", EACH, Options(), log=log)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_submitting_script_calls_the_scheduler_without_any_name(tmp_path, monkeypatch, name):
    study, calls = study_in(tmp_path, name, monkeypatch)
    fake(tmp_path / "bin" / "sbatch", calls, answer="123;here")
    options = Options("lab", "long", "--qos='a b' --comment=$(touch${IFS}owned)")
    text = written(Slurm(), study, options).submit
    done = bash(text, tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    extra = ["--qos=a b", "--comment=$(touch${IFS}owned)"]
    array, group = noted(calls)
    assert array["argv"] == ["--parsable", "--array=1-3", *extra, "qsmxt.slurm"]
    assert group["argv"] == ["--parsable", "--dependency=afterany:123", *extra, "group.slurm"]
    assert Path(array["cwd"]) == study.folder
    assert (study.folder / "jobs").read_text() == "123\n123\n"
    assert not list(tmp_path.rglob("owned"))


def test_a_task_that_fails_is_noted(tmp_path, monkeypatch):
    study, calls = study_in(tmp_path, "plain", monkeypatch)
    fake(tmp_path / "program", calls, code=65)
    assert bash(written(Slurm(), study).tasks, tmp_path, SLURM_ARRAY_TASK_ID="1").returncode == 65
    endings = read_endings(study.folder / "tasks.tsv")
    assert [ending.code for ending in endings] == [65, None, None]
    assert endings[0].text == "sub-01: failed (exit code 65)"
    assert "did not complete" in endings[1].text
    assert not endings[0].done


def test_the_end_of_its_time_is_passed_on_to_the_run(tmp_path, monkeypatch):
    study, _ = study_in(tmp_path, "plain", monkeypatch)
    program = tmp_path / "program"
    program.write_text("#!/bin/bash\ntrap 'sleep 0.3; exit 143' TERM\ntouch started\nsleep 60 & wait $!\n")
    script = tmp_path / "script"
    script.write_text(written(Slurm(), study).tasks)
    with subprocess.Popen(["bash", script], cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 143
    assert read_endings(study.folder / "tasks.tsv")[0].text == "sub-01: stopped by signal 15"


def test_what_each_scheduler_is_asked_for(tmp_path, monkeypatch):
    study, _ = study_in(tmp_path, "plain", monkeypatch)
    options = Options("lab", "long")
    slurm = written(Slurm(), study, options)
    for line in ("--cpus-per-task=2", "--mem=3815M", "--time=01:30:00", "--account=lab", "--partition=long"):
        assert f"#SBATCH {line}\n" in slurm.tasks
    assert "--time=02:05:00" in slurm.group
    pbs = written(Pbs(), study, options)
    assert "#PBS -l select=1:ncpus=2:mem=3815mb\n" in pbs.tasks
    assert "#PBS -q long\n" in pbs.tasks
    assert "qsub -J 1-3 qsmxt.pbs" in pbs.submit
    assert 'qsub -W depend="afterany:$tasks" group.pbs' in pbs.submit
    assert "--n-cpus 2 --mem-gb 3.6" in pbs.tasks
    torque = written(Torque(), study, options)
    assert "#PBS -l nodes=1:ppn=2\n" in torque.tasks
    assert "qsub -t 1-3 qsmxt.pbs" in torque.submit
    assert "afteranyarray:$tasks" in torque.submit
    for scripts in (slurm, pbs, torque):
        for text in scripts.files.values():
            assert subprocess.run(["bash", "-n"], input=text, text=True, check=True).returncode == 0


@pytest.mark.parametrize("scheduler", [Pbs(), Torque()], ids=["pbs", "torque"])
def test_pbs_gets_no_array_of_one(tmp_path, monkeypatch, scheduler):
    """OpenPBS knows none; Torque's has another kind of number, for which `afterany` does not wait."""
    study, calls = study_in(tmp_path, "plain", monkeypatch)
    scripts = written(scheduler, study, count=1)
    assert "qsub qsmxt.pbs" in scripts.submit
    assert 'depend="afterany:$tasks"' in scripts.submit
    assert bash(scripts.tasks, tmp_path).returncode == 0
    assert "01" in noted(calls)[0]["argv"]


def test_with_nothing_left_only_the_group_is_submitted(tmp_path, monkeypatch):
    study, _ = study_in(tmp_path, "plain", monkeypatch)
    text = written(Slurm(), study, count=0).submit
    assert "qsmxt.slurm" not in text
    assert "sbatch --parsable group.slurm" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_inside_an_image_the_host_calls_the_image_again(tmp_path, monkeypatch, name):
    inside = Path("/study")
    image = Image(f"/images/{name}/qsmxt.sif", (Bind(str(tmp_path / name), str(inside), "rw"),))
    out, scratch = inside / "out", tmp_path / "scratch" / name
    scratch.mkdir(parents=True)
    study = Study(inside / "raw", out, scratch / "work", out / "logs" / "s", image)
    folder = tmp_path / name / "out" / "logs" / "s"
    assert study.host_folder == folder
    (folder / "ended").mkdir(parents=True)
    (folder / "tasks.tsv").write_text(table_text(TASKS))
    calls = tmp_path / "calls"
    fake(tmp_path / "bin" / "apptainer", calls)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = bash(written(Slurm(), study).tasks, tmp_path, PATH=path, SLURM_CPUS_PER_TASK="3")
    assert done.returncode == 0, done.stderr
    call = noted(calls)[0]
    binds = [call["argv"][i + 1] for i, word in enumerate(call["argv"]) if word == "--bind"]
    assert binds[0] == f"{tmp_path / name}:/study:rw"
    assert binds[1:] == [f"{scratch}:{scratch}"]  # not the folder in it that is yet to be made
    program = call["argv"].index(f"/images/{name}/qsmxt.sif")
    assert call["argv"][program + 1 : program + 5] == ["qsmxt", "/study/raw", "/study/out", "participant"]
    assert call["env"]["APPTAINERENV_SLURM_CPUS_PER_TASK"] == "3"
    assert (folder / "ended" / "sub-01").read_text() == "0\n"
    assert not list(tmp_path.rglob("owned"))


def test_the_image_is_read_from_the_environment():
    assert image_of({}) is None
    found = image_of(
        {
            "SINGULARITY_CONTAINER": "/images/qsmxt.sif",
            "SINGULARITY_BIND": "/data/me:/data:ro,nosuid,/scratch",
            "APPTAINER_BIND": "/data/me:/data:ro,nosuid,/scratch",
        }
    )
    assert found is not None
    assert found.path == "/images/qsmxt.sif"
    assert [bind.text for bind in found.binds] == ["/data/me:/data:ro,nosuid", "/scratch:/scratch"]
    assert found.host_path(Path("/data/out")) == Path("/data/me/out")
    assert found.host_path(Path("/home/me")) == Path("/home/me")


@pytest.mark.parametrize("name", ["a b", "$(id)", "-x", "a\nb", "", "a;b", "'"])
def test_a_name_that_no_scheduler_knows_is_refused(name):
    with pytest.raises(WrongUsage, match="--account"):
        Options(account=name)
    with pytest.raises(WrongUsage, match="--partition"):
        Options(partition=name)


@pytest.mark.parametrize("text", ["'", '"', "--a\n--b", "\x1b"])
def test_options_that_cannot_be_understood_are_refused(text):
    with pytest.raises(WrongUsage, match="--submit-args"):
        Options(extra=text)


def test_the_table_is_read_as_it_was_written(tmp_path):
    table = tmp_path / "tasks.tsv"
    table.write_text(table_text(TASKS))
    assert read_tasks(table) == TASKS
    assert [ending.code for ending in read_endings(table)] == [None] * 3
    (tmp_path / "other.tsv").write_text("a\tb\n")
    with pytest.raises(WrongUsage, match="not a table of tasks"):
        read_tasks(tmp_path / "other.tsv")
    table.write_text(table_text(TASKS).replace("\t01\t", "\t../01\t"))
    with pytest.raises(WrongUsage, match="letters, digits"):
        read_tasks(table)
    with pytest.raises(NoInput):
        read_tasks(tmp_path / "absent.tsv")
    assert Ending(Task("01"), 143).text == "sub-01: stopped by signal 15"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("pbs_version = 22.05.11", Pbs),
        ("Version: 6.1.2\nCommit: 661e", Torque),
        ("Unknown option", Pbs),
        ("", Pbs),
    ],
)
def test_the_kind_of_pbs_is_recognised(monkeypatch, answer, kind):
    monkeypatch.setattr(schedulers, "_answer", lambda *_: answer)
    assert type(scheduler_for("pbs")) is kind


@pytest.mark.parametrize(
    ("table", "unfinished"),
    [
        ("12.host   qsmxt  me  00:00:10 R workq\n", {"12.host"}),
        ("12.host   qsmxt  me  00:00:10 C workq\n", set()),
        ("12[].host qsmxt  me  0 B workq\n", {"12.host"}),
        ("120.host  qsmxt  me  0 R workq\n", set()),
        ("qstat: Unknown Job Id 12.host\n", set()),
        ("", set()),
    ],
)
def test_what_waits_or_runs_in_pbs(monkeypatch, table, unfinished):
    monkeypatch.setattr(schedulers, "_answer", lambda *_: table)
    assert Pbs().unfinished(["12.host"]) == unfinished
