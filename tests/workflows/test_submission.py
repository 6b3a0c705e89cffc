"""`--submit` without a scheduler: what is asked for, what is written, what is refused."""

import os
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.cli import main
from qsmxt_app.cluster.tasks import Ending, Task, note_ending, read_tasks
from qsmxt_app.settings import Settings
from qsmxt_app.workflows import step_needs
from qsmxt_app.workflows.machine_share import MachineShare
from qsmxt_app.workflows.plan import RunPlan
from qsmxt_app.workflows.step_needs import WORKER_GB, Estimate
from qsmxt_app.workflows.study_level.group_estimate import estimate_group
from qsmxt_app.workflows.study_level.study import NEEDS
from qsmxt_app.workflows.submission import resources_of, tasks_of
from qsmxt_app.workflows.submitted import name_missing


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write_mini_dataset(tmp_path_factory.mktemp("submission") / "raw", ("01", "02", "03"))


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs that shadow the scheduler's."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin")
    for name in ("SINGULARITY_CONTAINER", "APPTAINER_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    program(folder, "sbatch", "echo 77")
    program(folder, "squeue", "true")
    return folder


def program(folder, name, command):
    (folder / name).write_text(f"#!/bin/bash\n{command}\n")
    (folder / name).chmod(0o755)


def submit(raw, out, *more):
    return main([str(raw), str(out), "participant", "--submit", "slurm", "--skip-bids-validation", *more])


def newest(out):
    return max((out / "logs").glob("submission-*"), key=lambda folder: folder.stat().st_mtime_ns)


def end(out, *codes):
    """Let the tasks of the newest submission end with exit codes; None: killed."""
    folder = newest(out)
    for task, code in zip(read_tasks(folder / "tasks.tsv"), codes, strict=True):
        if code is not None:
            note_ending(folder, Ending(task, code))


def scan(session=None):
    return SimpleNamespace(acquisition=SimpleNamespace(session=session))


def test_a_task_a_participant_and_session():
    scans = {"01": (scan("A"), scan("A"), scan("B")), "02": (scan(),)}
    problems = {"03": (SimpleNamespace(session="A"),)}
    plan = RunPlan(scans, problems, (), MachineShare(1, 1.0, None, 1))
    assert tasks_of(plan) == (Task("01", "A", 2), Task("01", "B"), Task("02"), Task("03", "A"))
    mixed = replace(plan, scans={"01": (scan("A"), scan())}, problems={})
    assert tasks_of(mixed) == (Task("01", "", 2),)


def test_more_data_ask_for_more():
    small, large = Estimate(1.0, 60.0), Estimate(20.0, 3600.0)
    assert resources_of(small, Settings()).memory_gb >= 1.0 + 1.0
    assert resources_of(large, Settings()).memory_gb >= 20.0 / 0.9
    assert resources_of(large, Settings()).minutes >= 4 * 60
    assert resources_of(small, Settings()).minutes >= 30
    chosen = resources_of(large, Settings(n_cpus=7, mem_gb=64.0))
    assert (chosen.cpus, chosen.memory_gb) == (7, 64.0)


def of_size(edge, voxel):
    return SimpleNamespace(shape=(edge, edge, edge), voxel_size=(voxel, voxel, voxel))


def test_the_group_level_asks_for_what_its_steps_declare():
    """A template of heads at 1 mm: 11 million voxels, in as many deformations at once as there are cores."""
    head, settings = of_size(224, 1.0), Settings()
    one, four = (estimate_group([head], settings, cores) for cores in (1, 4))
    largest = WORKER_GB + max(NEEDS.values()) * 224**3 / 1e9
    assert one.memory_gb >= largest
    assert four.memory_gb >= 4 * (WORKER_GB + NEEDS["deform"] * 11e6 / 1e9)
    coarse = estimate_group([of_size(112, 2.0)], settings, 4)
    assert coarse.memory_gb < four.memory_gb / 3
    many = estimate_group([head] * 30, settings, 4)
    assert many.memory_gb == four.memory_gb
    assert many.seconds > 20 * four.seconds
    fewer_rounds = estimate_group([head] * 30, replace(settings, template_rounds=1), 4)
    assert fewer_rounds.seconds < many.seconds / 2
    tables = estimate_group([head] * 30, replace(settings, template=False), 4)
    assert tables.memory_gb < 1.5
    fine = estimate_group([head], replace(settings, template_resolution=0.5), 4)
    assert fine.memory_gb > 5 * four.memory_gb


def test_a_dry_run_shows_the_scripts_and_writes_nothing(raw, tmp_path, capsys):
    assert submit(raw, tmp_path / "out", "--dry-run", "--account", "lab") == 0
    told = capsys.readouterr().out
    for part in ("3 tasks", "#SBATCH --account=lab", "--array=1-3", "afterany:", "sub-03", " group "):
        assert part in told
    assert not (tmp_path / "out").exists()


def test_a_submission_is_written_and_handed_over(raw, tmp_path, programs, capsys, monkeypatch):
    program(programs, "sbatch", 'echo "$PWD $*" >> ' + f"'{tmp_path}/calls'; echo 77")
    mask = tmp_path / "mask.nii"
    head = nib.load(next(raw.glob("sub-01/anat/*_echo-1_part-mag_*.nii.gz")))
    nib.save(nib.Nifti1Image(np.ones(head.shape, np.uint8), head.affine), mask)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    assert (
        submit(raw, Path("out"), "--mask", "mask.nii", "--submit-args=--qos=high", "--run-label", "1") == 18
    )
    assert submit(raw, Path("out"), "--mask", "mask.nii", "--submit-args=--qos=high") == 0
    folder = newest(out)
    assert "job 77" in capsys.readouterr().out
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"{folder} --parsable --array=1-3 --qos=high qsmxt.slurm",
        f"{folder} --parsable --dependency=afterany:77 --qos=high group.slurm",
    ]
    settings = tomllib.loads((folder / "config.toml").read_text())
    assert settings["mask"] == str(mask)
    assert not {"submit", "submit_args", "participant_label", "n_cpus", "work_dir"} & settings.keys()
    assert (
        main([str(raw), str(out), "participant", "--config", str(folder / "config.toml"), "--dry-run"]) == 0
    )


def test_only_what_is_not_done_is_submitted_again(raw, tmp_path, programs, capsys):
    out = tmp_path / "out"
    assert submit(raw, out, "--retry-failed") == 64
    assert "nothing was submitted" in capsys.readouterr().err
    assert submit(raw, out) == 0
    end(out, 0, None, 65)
    first = newest(out)
    assert submit(raw, out, "--retry-failed", "--mem-gb", "16") == 0
    assert newest(out) != first
    assert [task.name for task in read_tasks(newest(out) / "tasks.tsv")] == ["sub-02", "sub-03", "sub-01"]
    assert "--array=1-2" in (newest(out) / "submit.sh").read_text()
    assert "1 are done already" in capsys.readouterr().out
    end(out, 0, 0, 0)
    assert submit(raw, out, "--retry-failed", "--preset", "fast") == 64
    assert "settings differ" in capsys.readouterr().err
    # all participants are done, and the group level is not
    assert submit(raw, out, "--retry-failed") == 0
    assert "qsmxt.slurm" not in (newest(out) / "submit.sh").read_text()
    (newest(out) / "ended" / "group").write_text("0\n")
    last = newest(out)
    assert submit(raw, out, "--retry-failed") == 0
    assert "Nothing to submit" in capsys.readouterr().out
    assert newest(out) == last


def test_what_still_waits_or_runs_is_not_submitted_twice(raw, tmp_path, programs, capsys):
    out = tmp_path / "out"
    assert submit(raw, out) == 0
    program(programs, "squeue", "echo 77; echo 78")
    assert submit(raw, out, "--retry-failed") == 64
    assert "scancel 77" in capsys.readouterr().err


def test_a_scheduler_that_refuses_is_74_with_its_words(raw, tmp_path, programs, capsys):
    program(programs, "sbatch", "echo 'sbatch: error: invalid account' >&2; exit 1")
    assert submit(raw, tmp_path / "out") == 74
    error = capsys.readouterr().err
    assert "invalid account" in error
    assert error.count("\n") == 1


def test_without_a_scheduler_it_is_64_outside_of_an_image(raw, tmp_path, programs, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    assert submit(raw, out) == 64
    assert "sbatch is not installed" in capsys.readouterr().err
    assert not out.exists()
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/qsmxt.sif")
    monkeypatch.setenv("APPTAINER_BIND", f"/project/me:{tmp_path}")
    assert submit(raw, out) == 0
    folder = Path("/project/me/out/logs") / newest(out).name
    assert f"bash {folder}/submit.sh" in capsys.readouterr().out
    assert f"cd -- {folder}\n" in (newest(out) / "submit.sh").read_text()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--account", "a b"], "--account"),
        (["--submit-args='"], "--submit-args"),
        (["--reports-only"], "--reports-only"),
    ],
)
def test_what_cannot_be_submitted_is_64(raw, tmp_path, programs, capsys, more, part):
    assert submit(raw, tmp_path / "out", *more) == 64
    assert part in capsys.readouterr().err


def test_files_are_converted_before_they_are_submitted(tmp_path, programs, capsys):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.nii").touch()
    assert submit(tmp_path / "files", tmp_path / "out") == 64
    assert "--convert-only" in capsys.readouterr().err
    arguments = [str(tmp_path), str(tmp_path / "out"), "participant", "--retry-failed"]
    assert main(arguments) == 64


def test_who_is_missing_is_named_and_written_down(raw, tmp_path, programs, capsys):
    out = tmp_path / "out"
    assert submit(raw, out) == 0
    end(out, 0, None, 137)
    assert name_missing(newest(out) / "tasks.tsv", out) == 1
    error = capsys.readouterr().err
    assert "2 of 3 tasks did not complete" in error
    assert "sub-02: did not complete" in error
    assert "sub-03: stopped by signal 9" in error
    assert "sub-01" not in error
    assert (newest(out) / "missing.txt").read_text() in error
    assert (out / "index.html").is_file()
    end(out, 0, 0, 0)
    assert name_missing(newest(out) / "tasks.tsv", out) == 0
    assert "All 3 tasks are done" in capsys.readouterr().err
    assert (newest(out) / "missing.txt").read_text() == ""


def test_a_scan_that_cannot_fit_is_named_before_anything_starts(raw, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(step_needs, "WORKER_GB", 0.6)
    out = tmp_path / "out"
    arguments = [str(raw), str(out), "participant", "--skip-bids-validation", "--mem-gb", "0.5"]
    assert main([*arguments, "--dry-run"]) == 1  # as a run would end
    told = capsys.readouterr().out
    assert told.count("not started, it needs") == 3
    assert "--mem-gb" in told
    # where the jobs run elsewhere, this machine's memory does not matter
    assert submit(raw, out, "--mem-gb", "0.5", "--dry-run") == 0
    assert "not started" not in capsys.readouterr().out


def test_nothing_executable_is_left_to_others(raw, tmp_path, programs):
    mask = os.umask(0o022)
    try:
        assert submit(raw, tmp_path / "out") == 0
    finally:
        os.umask(mask)
    modes = [path.stat().st_mode for path in newest(tmp_path / "out").iterdir()]
    assert not np.any(np.array(modes) & 0o022)
