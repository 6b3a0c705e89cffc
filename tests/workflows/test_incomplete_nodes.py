"""What a crash of the machine tears is made again, and the result is the same."""

import gzip
import os

import pytest

from qsmxt_app.workflows.incomplete_nodes import FILES, discard_incomplete_nodes, made_with, note_files


@pytest.fixture
def step(tmp_path):
    """The folder of a finished step."""
    folder = tmp_path / "scan" / "step"
    folder.mkdir(parents=True)
    (folder / "chi.nii").write_bytes(os.urandom(1000))
    note_files(folder)
    with gzip.open(folder / "result_step.pklz", "wb") as stream:
        stream.write(os.urandom(1000))
    (folder / "_0xabc.json").write_text("{}")
    return folder


def test_a_whole_step_is_left_alone(step):
    assert discard_incomplete_nodes(step.parents[1]) == []
    assert (step / "_0xabc.json").exists()


TORN = {
    "cut image": lambda step: os.truncate(step / "chi.nii", 900),
    "lost image": lambda step: (step / "chi.nii").unlink(),
    "empty result": lambda step: os.truncate(step / "result_step.pklz", 0),
    "cut result": lambda step: os.truncate(step / "result_step.pklz", 500),
    "lost result": lambda step: (step / "result_step.pklz").unlink(),
    "empty list": lambda step: os.truncate(step / FILES, 0),
    "other version": lambda step: (step / FILES).write_text(
        (step / FILES).read_text().replace(made_with()["nipype"], "1.0.0")
    ),
    "no version": lambda step: (step / FILES).write_text('{"sizes": {}}'),
    "lost list": lambda step: (step / FILES).unlink(),
}


@pytest.mark.parametrize("kind", TORN)
def test_a_torn_step_is_made_again(step, kind):
    TORN[kind](step)
    assert discard_incomplete_nodes(step.parents[1]) == [step]
    assert not (step / "_0xabc.json").exists()


def test_steps_that_were_not_finished_are_left_to_nipype(step):
    (step / "_0xabc.json").rename(step / "_0xabc_unfinished.json")
    TORN["cut image"](step)
    assert discard_incomplete_nodes(step.parents[1]) == []


def test_a_run_after_a_crash_of_the_machine_gives_the_same_maps(finished):
    chi = finished.out / "sub-01" / "anat" / "sub-01_run-1_Chimap.nii.gz"
    before = chi.read_bytes()
    work = next((finished.out / ".work").glob("sub_01/*run_1*"))
    os.truncate(next((work / "masks").glob("*.nii")), 400)
    os.truncate(work / "relaxation" / "result_relaxation.pklz", 0)
    # of a version whose pickle cannot be read any more
    with gzip.open(work / "field" / "result_field.pklz", "wb") as stream:
        stream.write(b"cqsmxt_app.gone\nGone\n.")
    TORN["other version"](work / "field")
    chi.unlink()
    assert finished.again("--no-two-pass") == 0
    again = finished.nodes_run()
    assert {"masks", "relaxation", "derivatives"} <= again
    assert "prepare" not in again
    assert chi.read_bytes() == before
