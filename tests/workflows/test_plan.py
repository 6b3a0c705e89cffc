"""What is planned for scans, and that it is planned in one place."""

from __future__ import annotations

import tomllib
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app import config
from qsmxt_app.bids.acquisition import Acquisition, Echo
from qsmxt_app.cli import main
from qsmxt_app.config import load_settings
from qsmxt_app.source_graph import PACKAGE
from qsmxt_app.workflows.machine_share import MachineShare
from qsmxt_app.workflows.plan import described_scans, distinct_steps, estimate_run, plan_run, plan_scan
from qsmxt_app.workflows.step_needs import MAIN_GB


@pytest.fixture
def scan(tmp_path):
    image = tmp_path / "sub-01_MEGRE.nii.gz"
    echo = Echo(image, image, 0.01)
    return Acquisition(
        "01", None, {}, "MEGRE", (echo, echo), 3.0, np.eye(4), (64, 64, 40), (3.0, 3.0, 3.0), (0.0, 0.0, 1.0)
    )  # fmt: skip


def run(scans, settings, **share):
    planned = [plan_scan(scan, settings) for scan in scans]
    return plan_run(
        planned, (), (), settings, MachineShare(4, 8.0, **{"memory_limit_gb": 8.0, "threads": 4} | share)
    )


def names(steps):
    return [step.name for step in steps]


def test_what_a_scan_runs_follows_from_its_own_settings(scan):
    settings = load_settings({"preset": "auto"})
    head, body = (
        plan_scan(scan, settings),
        plan_scan(replace(scan, metadata={"BodyPartExamined": "LIVER"}), settings),
    )
    assert (head.choice.preset, body.choice.preset) == ("gre", "body")
    assert head.segmentation.runs
    assert not body.segmentation.runs
    assert names(body.steps) == names(body.maps)
    with pytest.raises(FrozenInstanceError):
        head.bipolar = True


@pytest.mark.parametrize(
    ("asked", "told", "bipolar"),
    [("auto", True, True), ("auto", None, False), ("yes", False, True), ("no", True, False)],
)
def test_the_user_decides_on_the_readout_before_the_sidecar(scan, asked, told, bipolar):
    assert plan_scan(replace(scan, bipolar=told), load_settings({"bipolar": asked})).bipolar is bipolar


def test_steps_that_run_beside_others_have_all_threads_and_claim_half_the_cores(scan):
    planned = {
        name: {
            step.name: (step.threads, step.cores)
            for step in run([scan], load_settings(flags), **share).all_scans[0].steps
        }
        for name, (flags, share) in {
            "labels": ({}, {}),
            "none": ({"segmentation": "none"}, {}),
            "asked": ({"omp_nthreads": "4"}, {}),
            "jobs": ({}, {"plugin": "SLURM"}),
        }.items()
    }
    assert [planned[name]["field"] for name in planned] == [(4, 2), (4, 4), (4, 4), (4, 4)]
    assert [planned[name]["tgv"] for name in planned] == [(4, 2), (4, 2), (4, 4), (4, 4)]
    assert planned["labels"]["register_atlas"] == (4, 2)
    assert planned["labels"]["combine"] == (1, 1)


def test_a_t1w_is_labelled_and_counted_once(scan, tmp_path):
    shared = replace(scan, t1w=tmp_path / "sub-01_T1w.nii.gz")
    one, two = (
        list(distinct_steps(run(scans, load_settings({})).all_scans)) for scans in ([shared], [shared] * 2)
    )
    assert names(one).count("register_atlas") == names(two).count("register_atlas") == 1
    assert names(two).count("field") == 2
    alone = list(distinct_steps(run([scan] * 2, load_settings({})).all_scans))
    assert names(alone).count("register_atlas") == 2


def test_a_scan_that_needs_too_much_becomes_a_problem(scan):
    large = replace(scan, subject="02", shape=(1000, 1000, 500))
    plan = run([scan, large], load_settings({}))
    assert plan.subjects == ["01", "02"]
    assert [one.acquisition.subject for one in plan.all_scans] == ["01"]
    assert "not started, it needs" in str(plan.problems["02"][0])
    assert not run([large], load_settings({}), memory_limit_gb=None).problems


def test_the_process_that_hands_out_work_counts_towards_the_limit(scan):
    settings = load_settings({"segmentation": "none"})
    largest = max(step.memory_gb for step in plan_scan(scan, settings).maps)
    assert run([scan], settings, memory_limit_gb=largest + 0.9 * MAIN_GB).problems
    assert not run([scan], settings, memory_limit_gb=largest + 1.1 * MAIN_GB).problems


def test_labels_are_said_where_they_are_made(scan):
    labelled, without = load_settings({}), load_settings({"segmentation": "none"})
    assert described_scans([plan_scan(scan, labelled)]) == "1 scan with labels"
    both = [plan_scan(scan, labelled), plan_scan(scan, without)]
    assert described_scans(both) == "2 scans (1 with labels)"
    assert described_scans(both[1:]) == "1 scan"
    assert estimate_run(both).seconds > 2 * estimate_run(both[1:]).seconds - 20


def test_a_plan_without_the_region_keeps_its_maps_and_cores(scan):
    plan = run([scan], load_settings({"reference": "thalamus"})).all_scans[0]
    assert "reference" in names(plan.regions)
    by_mean = plan.with_segmentation(replace(plan.segmentation, reference=""))
    assert names(by_mean.regions) == ["label", "regions"]
    assert by_mean.maps == plan.maps


@pytest.mark.parametrize("function", ["settings_for(", "plan_segmentation(", "with_preset("])
def test_what_will_run_is_derived_in_one_place(function):
    calls = [
        file.relative_to(PACKAGE).as_posix()
        for file in sorted(PACKAGE.rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if function in line and f"def {function}" not in line
    ]
    assert calls == ["workflows/preset_choice.py" if function == "with_preset(" else "workflows/plan.py"]


def test_no_preset_is_read_twice(tmp_path, monkeypatch):
    raw = write_mini_dataset(tmp_path / "raw", ("01", "02"))
    for cached in (config.read_preset, config.preset_names):
        cached.cache_clear()
    read = []

    def loads(text, original=tomllib.loads):
        read.append(text)
        return original(text)

    monkeypatch.setattr(config.tomllib, "loads", loads)
    arguments = [str(raw), str(tmp_path / "out"), "participant", "--dry-run", "--preset", "auto"]
    assert main([*arguments, "--skip-bids-validation"]) == 0
    presets = [text for text in read if text.startswith("summary")]
    assert len(presets) == len(set(presets)) == len(config.preset_names())


def test_a_dry_run_counts_participants_and_scans(tmp_path, capsys):
    raw = write_mini_dataset(tmp_path / "raw", ("01", "02"))
    for sidecar in raw.rglob("*.json"):
        sidecar.write_text(sidecar.read_text().replace("PHANTOM", "BRAIN"))
    arguments = [str(raw), str(tmp_path / "out"), "participant", "--dry-run", "--skip-bids-validation"]
    assert main([*arguments, "--participant-label", "01", "--segmentation", "atlas"]) == 0
    assert "Would process 1 participant, 1 scan with labels on" in capsys.readouterr().out
    assert main([*arguments, "--segmentation", "none"]) == 0
    assert "Would process 2 participants, 2 scans on" in capsys.readouterr().out


def test_a_dry_run_ends_as_a_run_of_unusable_data_would(tmp_path, capsys):
    raw = write_mini_dataset(tmp_path / "raw")
    for image in raw.rglob("*phase*.nii.gz"):
        image.unlink()
    arguments = [str(raw), str(tmp_path / "out"), "participant", "--dry-run", "--skip-bids-validation"]
    assert main(arguments) == 65
    assert "cannot be used" in capsys.readouterr().out
