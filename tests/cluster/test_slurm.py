"""A real SLURM runs what `--submit` hands to it."""

import json
import subprocess
import sys

import pytest
from killed_study import KilledStudy, local_run, results, run_study

from qsmxt_app.cluster.schedulers import Slurm
from qsmxt_app.cluster.tasks import read_endings

SUBJECTS = ("01", "02", "03")


@pytest.fixture(scope="module")
def study(slurm, tmp_path_factory) -> KilledStudy:
    return run_study(tmp_path_factory.mktemp("study $(touch owned) 'é"), SUBJECTS)


def test_the_group_job_names_who_was_killed_and_who_ran_out_of_memory(study):
    assert study.first_states["1"] == study.first_states["2"] == "COMPLETED"
    assert "COMPLETED" not in (study.first_states["3"], study.first_states["4"])
    assert "2 of 4 tasks did not complete" in study.first_group_log
    for name in (study.killed, study.out_of_memory):
        assert f"{name}: did not complete" in study.first_group_log
    assert "sub-01" not in study.first_group_log.split("--retry-failed")[0]


def test_only_what_is_missing_is_submitted_again(study):
    rows = study.retry_told.splitlines()
    assert [row.split("\t")[0] for row in rows[1:3]] == [study.killed, study.out_of_memory]
    assert study.second_states == {"1": "COMPLETED", "2": "COMPLETED"}
    assert "All 4 tasks are done." in study.second_group_log
    newest = max(study.out.glob("logs/submission-*"))
    assert all(ending.done for ending in read_endings(newest / "tasks.tsv"))


def test_the_result_is_that_of_a_local_run(study, tmp_path):
    assert local_run(study, tmp_path / "local") == 0
    here, there = results(tmp_path / "local"), results(study.out)
    assert here.keys() == there.keys()
    assert len([name for name in here if name.endswith("_Chimap.nii.gz")]) >= 4
    assert [name for name in here if here[name] != there[name]] == []


def test_files_of_all_participants_are_whole_and_know_everybody(study):
    index = (study.out / "index.html").read_text()
    assert all(f"sub-{subject}" in index for subject in SUBJECTS)
    assert "no record" not in index
    assert (study.out / "logs" / "CITATION.md").read_text().count("# Methods") == 1
    assert json.loads((study.out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    # both sessions of the participant whose tasks ran side by side
    page = (study.out / "sub-01.html").read_text()
    assert "ses-A" in page or "session A" in page
    assert "ses-B" in page or "session B" in page
    assert not list(study.out.rglob("*.tmp"))


def test_settings_must_stay_the_same_for_a_retry(study):
    command = [sys.executable, "-m", "qsmxt_app", str(study.raw), str(study.out), "participant"]
    command += ["--submit", "slurm", "--retry-failed", "--preset", "gre", "--skip-bids-validation"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "settings differ" in done.stderr


def test_slurm_tells_what_waits_or_runs(slurm, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/bash\nsleep 60\n")
    command = ["sbatch", "--parsable", f"--output={tmp_path}/log", str(script)]
    job = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        assert Slurm().unfinished([job, "999999"]) == {job}
    finally:
        subprocess.run(["scancel", job], check=True)
