"""What goes wrong in a conversion is named, and runs that were stopped go on."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from dicom_writer import (
    echoes,
    gradient_echo,
    t1w,
    truncate,
    write_all,
    write_series,
)
from planned import ECHO_TIMES, plan_of

from qsmxt_app.convert.dicom import execute
from qsmxt_app.convert.dicom.converter import ConversionFailed
from qsmxt_app.convert.dicom.execute import run_plan
from qsmxt_app.errors import InputOutputFailed


def test_a_damaged_file_fails_its_acquisition_alone(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    good = t1w("siemens", magnitude[..., 0])
    write_series(tmp_path / "dicom", good)
    files = write_all(tmp_path / "dicom", gradient_echo("siemens", magnitude, phase, ECHO_TIMES))
    plan = plan_of(tmp_path / "dicom")
    truncate(files[7])  # after the headers were read
    images, failures = run_plan(plan, tmp_path / "work", 2)
    assert [image.suffix for image in images] == ["T1w"]
    assert len(failures) == 1
    assert str(files[7]) in failures[0].reason
    assert "not large enough" in failures[0].reason
    assert "\n" not in failures[0].reason
    left = [path.name for path in (tmp_path / "work" / "dicom").iterdir()]
    assert len(left) == 1
    assert not left[0].startswith(".")


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    magnitude, _ = echoes()
    files = write_series(tmp_path / "dicom", t1w("siemens", magnitude[..., 0]))
    plan = plan_of(tmp_path / "dicom")
    files[2].unlink()
    images, failures = run_plan(plan, tmp_path / "work", 1)
    assert not images
    assert str(files[2]) in failures[0].reason


def test_compressed_file_cut_short_is_named(tmp_path: Path) -> None:
    magnitude, _ = echoes()
    files = write_series(tmp_path / "dicom", t1w("siemens", magnitude[..., 0]), compress=True)
    plan = plan_of(tmp_path / "dicom")
    files[3].write_bytes(files[3].read_bytes()[:-40])
    _, failures = run_plan(plan, tmp_path / "work", 1)
    assert str(files[3]) in failures[0].reason


def test_other_slices_than_planned_fail(tmp_path: Path) -> None:
    magnitude, _ = echoes()
    write_series(tmp_path / "dicom", t1w("siemens", magnitude[..., 0]))
    (acquisition,) = plan_of(tmp_path / "dicom")
    member = acquisition.members[0]
    fewer = replace(member, stack=replace(member.stack, n_slices=5))
    images, failures = run_plan([replace(acquisition, members=(fewer,))], tmp_path / "work", 1)
    assert not images
    assert "became 12 x 10 x 6 voxels where the headers say 12 x 10 x 5" in failures[0].reason


def test_volumes_that_the_headers_do_not_describe_fail(tmp_path: Path) -> None:
    """An enhanced file: an image of dcm2niix that nothing accounts for is not dropped in silence."""
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    write_all(tmp_path / "dicom", gradient_echo("philips-enhanced", magnitude, phase, ECHO_TIMES))
    (acquisition,) = plan_of(tmp_path / "dicom")
    series = acquisition.members[0].series
    fewer = replace(series, stacks=series.stacks[:-1])
    members = tuple(replace(m, series=fewer) for m in acquisition.members if m.stack in fewer.stacks)
    images, failures = run_plan([replace(acquisition, members=members)], tmp_path / "work", 1)
    assert not images
    assert "the headers describe 0" in failures[0].reason


def test_two_images_of_one_echo_and_channel_fail(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    series = gradient_echo("ge", magnitude, phase, ECHO_TIMES, components=("real", "imaginary"))
    write_all(tmp_path / "dicom", series)
    (acquisition,) = plan_of(tmp_path / "dicom")
    doubled = replace(acquisition, members=(*acquisition.members, acquisition.members[0]))
    halved = replace(acquisition, members=acquisition.members[:-1])
    _, failures = run_plan([doubled, halved], tmp_path / "work", 1)
    assert "cannot be distinguished" in failures[0].reason
    assert "part is missing" in failures[1].reason


def test_nothing_is_converted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    files = write_all(tmp_path / "dicom", gradient_echo("siemens", magnitude, phase, ECHO_TIMES))
    plan = plan_of(tmp_path / "dicom")
    first, _ = run_plan(plan, tmp_path / "work", 2)

    def refuse(*_: object) -> None:
        raise ConversionFailed("converted again")

    monkeypatch.setattr(execute, "convert_stack", refuse)
    again, failures = run_plan(plan, tmp_path / "work", 2)
    assert again == first
    assert not failures
    status = files[0].stat()
    os.utime(files[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert run_plan(plan, tmp_path / "work", 2)[1][0].reason == "converted again"


def test_a_run_that_was_killed_leaves_nothing_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    write_all(tmp_path / "dicom", gradient_echo("siemens", magnitude, phase, ECHO_TIMES))
    plan = plan_of(tmp_path / "dicom")
    store = tmp_path / "work" / "dicom"
    monkeypatch.setattr(execute.shutil, "rmtree", lambda *_, **__: None)  # as if the process were gone

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(execute, "finish", killed)
        run_plan(plan, tmp_path / "work", 1)
    (left,) = store.iterdir()
    assert left.name.startswith(".")  # never under the name of a whole one
    monkeypatch.undo()
    images, failures = run_plan(plan, tmp_path / "work", 1)
    assert len(images) == 2 * len(ECHO_TIMES)
    assert not failures
    assert not left.exists()


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    series = gradient_echo("ge", magnitude, phase, ECHO_TIMES, components=("magnitude", "real", "imaginary"))
    write_all(tmp_path / "dicom", [*series, t1w("ge", magnitude[..., 0])])
    plan = plan_of(tmp_path / "dicom")
    one, _ = run_plan(plan, tmp_path / "one", 1)
    two, _ = run_plan(plan, tmp_path / "two", 2)
    assert [image.path.read_bytes() for image in one] == [image.path.read_bytes() for image in two]
    assert [json.dumps(image.sidecar) for image in one] == [json.dumps(image.sidecar) for image in two]


def test_echoes_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    write_all(tmp_path / "dicom", gradient_echo("ge", magnitude, phase, ECHO_TIMES))
    (acquisition,) = plan_of(tmp_path / "dicom")
    alike = tuple(replace(member, echo=None) for member in acquisition.members)
    images, failures = run_plan([replace(acquisition, members=alike)], tmp_path / "work", 2)
    assert not images
    assert "the same magnitude (echo time 8.76 ms) as" in failures[0].reason


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    magnitude, _ = echoes()
    write_series(tmp_path / "dicom", t1w("siemens", magnitude[..., 0]))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(execute, "finish", full)
    with pytest.raises(InputOutputFailed, match="disk or quota is full"):
        run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 1)
    assert not list((tmp_path / "work" / "dicom").iterdir())
