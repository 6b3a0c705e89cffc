import json
import os
import shutil

import numpy as np
import pytest
from raw_dataset import AFFINE, ECHO_TIMES, write_image

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.selection import Selection, read_bids_filter
from qsmxt_app.errors import NoInput, NothingSelected, WrongUsage


def _find(raw, **selection):
    return find_acquisitions(open_dataset(raw.root), Selection(**selection))


def test_what_is_known_of_an_acquisition(raw):
    found = _find(raw, participants=["sub-01"])
    assert (found.problems, found.notes) == ((), ())
    (acquisition,) = found.acquisitions
    assert (acquisition.subject, acquisition.session, acquisition.entities) == ("01", None, {})
    assert acquisition.echo_times == ECHO_TIMES
    assert acquisition.shape == (8, 8, 8)
    assert acquisition.voxel_size == (1, 1, 2)
    assert acquisition.b0_direction == (0, 0, 1)
    assert acquisition.field_strength == 3.0
    assert acquisition.phase_units == "rad"
    assert acquisition.bipolar is None
    assert acquisition.t1w == raw.file("sub-01_T1w.nii.gz")
    assert acquisition.label == "sub-01 MEGRE (3 echoes)"
    assert len(acquisition.files) == 6
    np.testing.assert_array_equal(acquisition.affine, AFFINE)
    assert [echo.phase.name for echo in acquisition.echoes][1] == "sub-01_echo-2_part-phase_MEGRE.nii.gz"


def test_sessions_runs_and_acquisitions_are_kept_apart(empty_dataset):
    for stem in ("sub-1_ses-A_acq-x_run-2", "sub-1_ses-A_acq-x_run-10", "sub-1_ses-B", "sub-10", "sub-2"):
        empty_dataset.megre(stem)
    stems = [acquisition.stem for acquisition in _find(empty_dataset).acquisitions]
    assert stems == ["sub-1_ses-A_acq-x_run-2", "sub-1_ses-A_acq-x_run-10", "sub-1_ses-B", "sub-2", "sub-10"]


@pytest.mark.parametrize(
    ("selection", "stems"),
    [
        ({"participants": ["sub-1"]}, ["sub-1_ses-A_acq-x_run-02", "sub-1_ses-B"]),
        ({"sessions": ["ses-A"]}, ["sub-1_ses-A_acq-x_run-02"]),
        ({"runs": ["2"]}, ["sub-1_ses-A_acq-x_run-02"]),
        ({"acquisitions": ["x"]}, ["sub-1_ses-A_acq-x_run-02"]),
        ({"bids_filters": {"megre": {"acq": None}}}, ["sub-1_ses-B", "sub-2_ses-B"]),
        ({"bids_filters": {"qsm": {"ses": ["B"], "sub": "*"}}}, ["sub-1_ses-B", "sub-2_ses-B"]),
    ],
)
def test_selection(empty_dataset, selection, stems):
    for stem in ("sub-1_ses-A_acq-x_run-02", "sub-1_ses-B", "sub-2_ses-B"):
        empty_dataset.megre(stem)
    assert [acquisition.stem for acquisition in _find(empty_dataset, **selection).acquisitions] == stems


def test_a_participant_that_does_not_exist(raw):
    with pytest.raises(
        NothingSelected, match=r"sub-03 does not exist. There is sub-0[12], sub-0[12]"
    ) as error:
        _find(raw, participants=["01", "03"])
    assert error.value.exit_code == 18


@pytest.mark.parametrize("label", ["../../etc", "01/..", "", "0 1"])
def test_participants_that_are_no_labels(raw, label):
    with pytest.raises(WrongUsage):
        _find(raw, participants=[label])


def test_a_session_that_does_not_exist(raw):
    with pytest.raises(NothingSelected, match="is, for example, sub-01_echo-1_part-phase_MEGRE"):
        _find(raw, sessions=["B"])


def test_filter_file(tmp_path):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"megre": {"session": "A", "run": [1, None], "suffix": "MEGRE"}}))
    assert read_bids_filter(path) == {"megre": {"ses": "A", "run": [1, None], "suffix": "MEGRE"}}
    for content in ('{"bold": {}}', '{"megre": {"sesion": "A"}}', '{"megre": 1}', "{", "[]"):
        path.write_text(content)
        with pytest.raises(WrongUsage, match="--bids-filter-file"):
            read_bids_filter(path)
    with pytest.raises(WrongUsage, match=r"absent\.json"):
        read_bids_filter(tmp_path / "absent.json")


def test_no_dataset(tmp_path):
    with pytest.raises(NoInput, match="no such folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(NoInput, match="no sub- folder"):
        open_dataset(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NoInput, match="a file"):
        open_dataset(tmp_path / "file")


def test_a_dataset_without_gradient_echoes(empty_dataset):
    empty_dataset.t1w("sub-01")
    with pytest.raises(NoInput, match="no gradient-echo images with phase"):
        _find(empty_dataset)


def test_a_participant_without_gradient_echoes_fails_only_where_it_was_named(raw):
    raw.t1w("sub-03")
    found = _find(raw)
    assert (len(found.acquisitions), found.problems) == (2, ())
    assert "sub-03: no gradient-echo image" in found.notes[0]
    named = _find(raw, participants=["01", "03"])
    assert [problem.subject for problem in named.problems] == ["03"]
    with pytest.raises(NoInput):
        _find(raw, participants=["03"])


def test_a_folder_that_cannot_be_read(raw, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if "sub-01" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = _find(raw)
    assert [acquisition.subject for acquisition in found.acquisitions] == ["02"]
    assert found.problems[0].exit_code == 66
    assert str(found.problems[0]).startswith(f"{raw.root}/sub-01: cannot be read (Permission denied)")


def test_single_echo(empty_dataset):
    empty_dataset.echo("sub-01", None, "T2starw")
    empty_dataset.echo("sub-02", 1)
    first, second = _find(empty_dataset).acquisitions
    assert (first.suffix, first.echo_times) == ("T2starw", (0.004,))
    assert (second.suffix, second.echo_times) == ("MEGRE", (0.004,))
    assert second.label == "sub-02 MEGRE (1 echo)"


def test_magnitude_without_part(empty_dataset):
    empty_dataset.echo("sub-01", None, "T2starw")
    for extension in (".nii.gz", ".json"):
        path = empty_dataset.file(f"sub-01_part-mag_T2starw{extension}")
        path.rename(path.with_name(f"sub-01_T2starw{extension}"))
    (acquisition,) = _find(empty_dataset).acquisitions
    assert acquisition.echoes[0].magnitude.name == "sub-01_T2starw.nii.gz"


def test_real_and_imaginary_parts(raw):
    for path in (raw.root / "sub-01").rglob("*_part-*"):
        path.rename(
            path.with_name(path.name.replace("part-mag", "part-real").replace("part-phase", "part-imag"))
        )
    (acquisition,) = _find(raw, participants=["01"]).acquisitions
    assert acquisition.complex_parts
    assert acquisition.phase_units is None
    assert acquisition.echoes[2].magnitude.name == "sub-01_echo-3_part-real_MEGRE.nii.gz"
    assert acquisition.echoes[2].phase.name == "sub-01_echo-3_part-imag_MEGRE.nii.gz"


def test_inherited_metadata(raw):
    for path in raw.root.rglob("*MEGRE.json"):
        path.unlink()
    common = {"MagneticFieldStrength": 7, "Units": "arbitrary", "Bipolar": True}
    (raw.root / "MEGRE.json").write_text(json.dumps(common))
    for echo, time in enumerate(ECHO_TIMES, 1):
        (raw.root / f"echo-{echo}_MEGRE.json").write_text(json.dumps({"EchoTime": time}))
    first, second = _find(raw).acquisitions
    assert first.field_strength == second.field_strength == 7
    assert second.echo_times == ECHO_TIMES
    assert second.bipolar is True
    assert second.phase_units == "arbitrary"


def test_t1w_of_another_session_is_flagged(empty_dataset):
    empty_dataset.megre("sub-01_ses-A")
    empty_dataset.megre("sub-01_ses-B")
    empty_dataset.t1w("sub-01_ses-B_run-2")
    plain = empty_dataset.t1w("sub-01_ses-B_run-1")
    first, second = _find(empty_dataset).acquisitions
    assert first.t1w == second.t1w == plain
    assert "no T1w in this session" in first.warnings[0]
    said = "several T1w in this session; sub-01_ses-B_run-1_T1w.nii.gz is used, "
    assert second.warnings == (said + "not sub-01_ses-B_run-2_T1w.nii.gz",)


def test_the_uniform_image_of_mp2rage_stands_in_for_a_t1w(empty_dataset):
    empty_dataset.megre("sub-01")
    uniform = empty_dataset.file("sub-01_UNIT1.nii.gz")
    shutil.copyfile(empty_dataset.t1w("sub-01_acq-x"), uniform)
    assert _find(empty_dataset).acquisitions[0].t1w == empty_dataset.file("sub-01_acq-x_T1w.nii.gz")
    empty_dataset.file("sub-01_acq-x_T1w.nii.gz").unlink()
    (acquisition,) = _find(empty_dataset).acquisitions
    assert acquisition.t1w == uniform
    assert acquisition.warnings == ()


def test_scans_that_differ_in_suffix_only_get_different_names(empty_dataset):
    empty_dataset.megre("sub-01_acq-x")
    empty_dataset.echo("sub-01_acq-x", None, "T2starw")
    assert [one.stem for one in _find(empty_dataset).acquisitions] == ["sub-01_acq-x", "sub-01_acq-x+T2starw"]


def test_four_dimensions_with_a_list_of_echo_times(empty_dataset):
    voxels = np.random.default_rng(3).random((4, 4, 4, 3), np.float32)
    common = {"MagneticFieldStrength": 3, "EchoTime": list(ECHO_TIMES)}
    for part in ("mag", "phase"):
        write_image(empty_dataset.file(f"sub-01_part-{part}_MEGRE.nii.gz"), voxels, **common)
    (acquisition,) = _find(empty_dataset).acquisitions
    assert [echo.index for echo in acquisition.echoes] == [(0,), (1,), (2,)]
    assert acquisition.echo_numbers == (1, 2, 3)
    assert acquisition.shape == (4, 4, 4)
    assert acquisition.echo_times == ECHO_TIMES
    assert len(acquisition.files) == 2


def test_a_clinical_t2starw_without_phase_is_left_out_with_a_note(raw):
    raw.echo("sub-01", None, "T2starw")
    raw.file("sub-01_part-phase_T2starw.nii.gz").unlink()
    found = _find(raw)
    assert len(found.acquisitions) == 2
    assert found.problems == ()
    assert "sub-01_part-mag_T2starw.nii.gz: no phase; left out." in found.notes[0]


# What is broken in sub-01, the exit code, and what the line says; sub-02 must run all the same.
PHASE_2, MAGNITUDE_2 = "sub-01_echo-2_part-phase_MEGRE", "sub-01_echo-2_part-mag_MEGRE"


def _remove(*patterns):
    def break_it(raw):
        for pattern in patterns:
            for path in raw.root.rglob(pattern):
                path.unlink()

    return break_it


def _metadata(name, **changes):
    return lambda raw: raw.metadata(f"{name}.json", **changes)


def _echo_times(*times):
    def break_it(raw):
        for number, time in enumerate(times, 1):
            for part in ("mag", "phase"):
                raw.metadata(f"sub-01_echo-{number}_part-{part}_MEGRE.json", EchoTime=time)

    return break_it


def _image(name, shape=(8, 8, 8), **options):
    return lambda raw: write_image(raw.file(f"{name}.nii.gz"), np.ones(shape, np.float32), **options)


def _bytes(name, content):
    return lambda raw: raw.file(name).write_bytes(content)


def _annexed(raw):
    path = raw.file(f"{PHASE_2}.nii.gz")
    path.unlink()
    path.symlink_to("../../.git/annex/objects/x/y/MD5E-s1--z.nii.gz/MD5E-s1--z.nii.gz")


def _shifted():
    affine = AFFINE.copy()
    affine[2, 3] += 3
    return affine


def _twice(raw):
    path = raw.file(f"{PHASE_2}.nii.gz")
    shutil.copy(path, path.with_name(f"{PHASE_2}.nii"))


@pytest.mark.parametrize(
    ("break_it", "code", "file", "text"),
    [
        (_remove("sub-01*phase*"), 65, "sub-01_echo-1_part-mag_MEGRE.nii.gz", "no phase image"),
        (_remove("sub-01*mag*"), 65, "sub-01_echo-1_part-phase_MEGRE.nii.gz", "no magnitude image"),
        (_remove("sub-01_echo-2*phase*"), 65, "sub-01", "echo-2 has no phase image"),
        (_remove("sub-01_echo-2*mag*"), 65, "sub-01", "echo-2 has no magnitude image"),
        (_remove("sub-01_echo-2*"), 65, "sub-01", "echo-2 is missing, echo-3 is there"),
        (_remove("sub-01_echo-1*"), 65, "sub-01", "echo-1 is missing"),
        (_echo_times(None, None, None), 65, "sub-01_echo-1_part-mag", "no EchoTime"),
        (_echo_times(4, 8, 12), 65, "sub-01_echo-1_part-mag", "most likely milliseconds"),
        (_echo_times(0.004, -0.008, 0.012), 65, MAGNITUDE_2, "not positive"),
        (_echo_times(0.004, 0.012, 0.008), 65, "sub-01_echo-3_part-mag", "shorter than the echo before"),
        (_echo_times(0.004, 0.004, 0.008), 65, MAGNITUDE_2, "the same as the echo before"),
        (_metadata(PHASE_2, EchoTime=0.009), 65, MAGNITUDE_2, "but 0.009 s for"),
        (_image(PHASE_2, (8, 8, 7)), 65, PHASE_2, "shape 8x8x7, but 8x8x8"),
        (_image(PHASE_2, affine=_shifted()), 65, PHASE_2, "another position or orientation"),
        (_image(PHASE_2, (8, 8, 8, 2)), 65, PHASE_2, "shape 8x8x8x2"),
        (_bytes(f"{PHASE_2}.nii.gz", b"hello"), 65, PHASE_2, "not gzip"),
        (_bytes(f"{PHASE_2}.nii.gz", b""), 66, PHASE_2, "empty file"),
        (_bytes(f"{PHASE_2}.json", b"{"), 65, PHASE_2, "not valid JSON"),
        (_annexed, 66, PHASE_2, "content not fetched. Fetch it: datalad get"),
        (_twice, 65, PHASE_2, "the same image as"),
        (
            lambda raw: [
                _metadata(f"sub-01_echo-1_part-{part}_MEGRE", MagneticFieldStrength=None)(raw)
                for part in ("mag", "phase")
            ],
            65,
            "sub-01_echo-1_part-phase",
            "no MagneticFieldStrength",
        ),
        (
            _metadata("sub-01_echo-1_part-phase_MEGRE", MagneticFieldStrength=30000),
            65,
            "sub-01_echo-1_part-phase",
            "implausible",
        ),
    ],
)
def test_broken_data_are_told_in_one_line_and_the_rest_runs(raw, break_it, code, file, text):
    break_it(raw)
    found = _find(raw)
    assert [acquisition.stem for acquisition in found.acquisitions] == ["sub-02"]
    problem = found.problems[0]
    assert (problem.subject, problem.exit_code) == ("01", code)
    assert file in problem.message.split(": ")[0]
    assert text in str(problem)
    assert problem.hint
    assert "\n" not in str(problem)


def test_every_broken_file_of_an_acquisition_is_told(raw):
    for echo in (1, 3):
        raw.file(f"sub-01_echo-{echo}_part-mag_MEGRE.nii.gz").write_bytes(b"x")
    raw.file("sub-01_echo-2_part-mag_MEGRE.nii.gz").write_bytes(b"")
    first, second = _find(raw).problems
    assert first.file.name == "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    assert "not gzip" in first.message
    assert first.message.endswith("So it is in sub-01_echo-3_part-mag_MEGRE.nii.gz.")
    assert second.file.name == "sub-01_echo-2_part-mag_MEGRE.nii.gz"
    assert "empty" in second.message


def test_one_cause_is_told_once_whatever_its_numbers(raw):
    _echo_times(4.5, 8, 12)(raw)
    (problem,) = _find(raw).problems
    assert "most likely milliseconds" in problem.message
    assert problem.message.endswith("and 3 more.")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((4, 4, 4, 3), "3 volumes in one file (4D), but one echo time"),
        ((4, 4, 4, 3, 8), "3x8 volumes in one file (5D), but one echo time"),
        ((2, 2, 2, 2, 2, 2), "its shape is 2x2x2x2x2x2"),
    ],
)
def test_more_than_three_dimensions_without_echo_times_are_explained(empty_dataset, shape, said):
    voxels = np.random.default_rng(3).random(shape, np.float32)
    for part in ("mag", "phase"):
        name = f"sub-01_part-{part}_MEGRE.nii.gz"
        write_image(empty_dataset.file(name), voxels, MagneticFieldStrength=3, EchoTime=0.004)
    (problem,) = _find(empty_dataset).problems
    assert said in problem.message
    # what test_input_kinds shows to be accepted
    assert "EchoTime as a list" in problem.hint
    assert "CoilCombinationMethod none" in problem.hint
    assert "named with coil-" in problem.hint
