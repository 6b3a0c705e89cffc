import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qsmxt_app.bids.atomic import atomic_file, make_folder, write_json, write_text
from qsmxt_app.bids.derivatives import save_image
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as stream:
        stream.write(b"new")
        raise KeyboardInterrupt
    assert _content(tmp_path) == {"a.txt": b"old"}


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with atomic_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert not path.exists()
    assert _content(path.parent) == {"a.txt": b"new"}


def test_permissions_follow_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(previous)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_json_of_numpy_values(tmp_path):
    path = tmp_path / "a.json"
    write_json(
        path, {"a": np.float32(0.1), "b": np.arange(2), "c": np.nan, "d": Path("x"), "e": (True, None)}
    )
    assert json.loads(path.read_text()) == {"a": 0.1, "b": [0, 1], "c": None, "d": "x", "e": [True, None]}


def test_a_file_that_says_the_same_is_not_written_again(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "x")
    before = path.stat().st_ino
    write_text(path, "x")
    assert path.stat().st_ino == before
    write_text(path, "y")
    assert path.read_text() == "y"


@pytest.mark.parametrize("name", ["file/a.txt", "file/deep/a.txt", "folder", "n" * 300])
def test_what_cannot_be_created(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(CannotCreateOutput) as error:
        write_text(tmp_path / name, "x")
    assert error.value.exit_code == 73
    assert str(tmp_path) in str(error.value)
    assert not any(path.name.endswith(".tmp") for path in tmp_path.rglob("*"))


def test_a_read_only_file_system(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CannotCreateOutput, match="Read-only"):
        make_folder(tmp_path / "a")


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 kB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


NOISE = np.random.default_rng(5).random((40, 40, 40), np.float32)


def test_a_full_disk_leaves_no_torn_image(tiny_disk):
    path = tiny_disk / "sub-01_Chimap.nii.gz"
    save_image(NOISE[:8, :8, :8], np.eye(4), path)
    before = path.read_bytes()
    with pytest.raises(InputOutputFailed, match="disk or quota is full") as error:
        save_image(NOISE, np.eye(4), path)
    assert error.value.exit_code == 74
    assert _content(tiny_disk) == {path.name: before}


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_fills_up_at_any_moment(tmp_path, monkeypatch, call):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if call == "replace":
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputOutputFailed), atomic_file(tmp_path / "a.nii.gz") as stream:
        if call == "write":
            full()
        stream.write(b"x")
    assert _content(tmp_path) == {}
