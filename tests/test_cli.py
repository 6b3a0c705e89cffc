import re
import subprocess
import sys

import pytest

from qsmxt_app import __version__
from qsmxt_app.cli import build_parser, main, parse_arguments
from qsmxt_app.config import load_settings
from qsmxt_app.settings import setting_fields
from qsmxt_app.settings.other_programs import INSTEAD, NOTHING_TO_DO, SAME


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["in", "out"], "required"),
        (["in", "out", "participnt"], "Did you mean participant?"),
        (["in", "out", "participant", "--two-passs"], "Did you mean --two-pass?"),
        (["in", "out", "participant", "--preset=gree"], "Did you mean gre?"),
        (["in", "out", "participant", "surplus"], "surplus"),
        (["in", "out", "participant", "--tgv-iterations", "1.5"], "whole number"),
        (["in", "out", "participant", "--sumbit", "slurm"], "unknown option --sumbit"),
    ],
)
def test_wrong_usage_is_64_and_one_line(capsys, arguments, part):
    code, error = run(capsys, *arguments)
    assert code == 64
    assert error.startswith("qsmxt: ")
    assert error.count("\n") == 1
    assert part in error
    assert "Traceback" not in error


def test_no_argument_at_all_prints_help(capsys):
    assert main([]) == 0
    assert "BIDS_DIR OUTPUT_DIR {participant,group}" in capsys.readouterr().out


def test_missing_input_is_66(capsys, tmp_path):
    code, error = run(capsys, tmp_path / "absent", tmp_path / "out", "participant")
    assert (code, error.count("\n")) == (66, 1)
    assert "absent" in error
    assert not (tmp_path / "out").exists()


def test_empty_folder_is_66(capsys, tmp_path):
    (tmp_path / "in").mkdir()
    code, error = run(capsys, tmp_path / "in", tmp_path / "out", "participant")
    assert code == 66
    assert "sub-" in error


def test_control_characters_do_not_reach_the_terminal(capsys, tmp_path):
    _, error = run(capsys, tmp_path / "a\x1b[31mb", tmp_path / "out", "participant")
    assert "\x1b" not in error


@pytest.mark.parametrize(
    ("spelled", "name", "value"),
    [
        (["--participant_label", "01", "02"], "participant_label", ["01", "02"]),
        (["--participant-label", "01"], "participant_label", ["01"]),
        (["--skip_bids_validator"], "skip_bids_validation", True),
        (["--skip-bids-validation"], "skip_bids_validation", True),
        (["-w", "a_b"], "work_dir", "a_b"),
        (["--work_dir=a_b"], "work_dir", "a_b"),
        (["--nprocs", "3"], "n_cpus", "3"),
        (["--n_cpus", "3"], "n_cpus", "3"),
        (["--mem", "3"], "mem_gb", "3"),
        (["--mem_gb", "3"], "mem_gb", "3"),
        (["--omp-nthreads", "3"], "omp_nthreads", "3"),
        (["--use-plugin", "x.yml"], "nipype_plugin_file", "x.yml"),
        (["--nipype-plugin", "Linear"], "nipype_plugin", "Linear"),
        (["--no-two-pass"], "two_pass", False),
        (["--stop_on_first_crash"], "stop_on_first_crash", True),
    ],
)
def test_spellings_of_other_bids_apps(spelled, name, value):
    from qsmxt_app.cli import parse_arguments

    options = parse_arguments(["in", "out", "participant", *spelled])
    assert vars(options)[name] == value


def test_every_setting_is_a_flag_with_help():
    page = build_parser().format_help()
    for setting in setting_fields():
        assert f"--{setting.name.replace('_', '-')}" in page


def test_help_shows_the_defaults_that_are_in_force():
    page = " ".join(build_parser().format_help().split())
    in_force = load_settings({})
    assert f"between scalp and brain (default: {in_force.mask_separation})" in page
    assert in_force.mask_separation != 0
    assert "(default: )" not in page
    assert "(default: None)" not in page


def test_version_and_help_are_quick_to_answer():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "qsmxt_app", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"qsmxt {__version__}")
    # what takes seconds to import waits until the arguments are known to be right
    assert not [name for name in ("numba", "nipype", "nibabel") if f"| {name}\n" in done.stderr]


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (["--premade", "fast"], "preset", "fast"),
        (["--bf_algorithm", "pdf"], "background", "pdf"),
        (["--session-id", "A", "B"], "session_label", ["A", "B"]),
        (["--run_id=1"], "run_label", ["1"]),
        (["--mem_mb", "8000"], "mem_gb", "8000M"),
        (["--mem-mb=8000"], "mem_gb", "8000M"),
        (["--notrack", "--low-mem", "--do_segmentation", "--n-cpus", "2"], "n_cpus", "2"),
    ],
)
def test_options_of_other_programs_that_mean_the_same(given, name, value):
    assert vars(parse_arguments(["in", "out", "participant", *given]))[name] == value


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--qsm-algorithm=rts", "--qsm-method two-step with --inversion rts"),
        ("--export_dicoms", "Run qsm dicom"),
        ("--labels_file", "--custom-labels"),
        ("--fs-license-file=x", "FreeSurfer is not run"),
        ("--use_existing_masks", "--masks DIR"),
    ],
)
def test_other_options_of_other_programs_are_answered_with_the_right_one(flag, hint, capsys):
    assert main(["in", "out", "participant", flag]) == 64
    said = capsys.readouterr().err
    assert hint in said
    assert said.count("\n") == 1


def test_no_option_of_another_program_hides_one_of_ours():
    ours = {flag.removeprefix("--") for action in build_parser()._actions for flag in action.option_strings}
    assert not ours & (SAME.keys() | NOTHING_TO_DO | INSTEAD.keys())
    assert set(SAME.values()) <= ours
    for hint in INSTEAD.values():
        assert set(re.findall(r"--([a-z-]+)", hint)) <= ours
