"""Pickles of nipype are read only where no other user can write any."""

from __future__ import annotations

import grp
import gzip
import os
import pickle
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from qsmxt_app import private_folder
from qsmxt_app.cli import main
from qsmxt_app.errors import CannotCreateOutput
from qsmxt_app.private_folder import PRIVATE
from qsmxt_app.workflows.run_folder import create_folder


def test_a_new_work_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        work = create_folder(tmp_path / "out" / "work", PRIVATE)
    finally:
        os.umask(before)
    assert work.stat().st_mode & 0o777 == PRIVATE


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o777, 0o1777, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_folder, "_is_own_group", lambda number: False)
    work = tmp_path / "it's work"
    work.mkdir()
    work.chmod(mode)
    with pytest.raises(CannotCreateOutput, match="by others") as caught:
        create_folder(work, PRIVATE)
    subprocess.run(caught.value.hint.partition(" or: ")[2], shell=True, check=True)  # noqa: S602
    create_folder(work, PRIVATE)


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = create_folder(tmp_path / "work", PRIVATE)
    monkeypatch.setattr(private_folder.os, "geteuid", lambda: work.stat().st_uid + 1)
    with pytest.raises(CannotCreateOutput, match="another user"):
        create_folder(work, PRIVATE)


class Boom:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_a_planted_pickle_is_not_reached(tmp_path: Path, raw: Path) -> None:
    out, mark = tmp_path / "out", tmp_path / "pwned"
    planted = out / "work" / "sub_01" / "mini" / "prepare" / "result_prepare.pklz"
    planted.parent.mkdir(parents=True)
    with gzip.open(planted, "wb") as stream:
        pickle.dump(Boom(mark), stream)
    (out / "work").chmod(0o777)
    assert main([str(raw), str(out), "participant", "--skip-bids-validation"]) == CannotCreateOutput.exit_code
    assert not mark.exists()


def test_the_program_itself_reads_no_pickle() -> None:
    package = Path(sys.modules["qsmxt_app"].__file__ or "").parent
    # a node on its way to a job is checked for its owner first
    allowed = {package / "workflows" / "cluster_executor.py"}
    for path in {*package.rglob("*.py")} - allowed:
        source = path.read_text(encoding="utf-8")
        for word in (
            "import pickle",
            "allow_pickle",
            "loadpkl",
            "joblib",
            "shell=True",
            "os.system",
            "yaml.load(",
        ):
            assert word not in source, f"{path}: {word}"


def test_a_group_of_oneself_may_write_and_a_shared_one_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under umask 002 folders belong to a group that systems make for each user."""
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o775)
    user = pwd.getpwuid(os.geteuid())
    members: list[str] = []
    own = (user.pw_name, "x", user.pw_gid, members)
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group(own))
    create_folder(work, PRIVATE)
    members.append("mallory")
    with pytest.raises(CannotCreateOutput, match="chmod go-w"):
        create_folder(work, PRIVATE)
    own = ("staff", "x", user.pw_gid, [])
    with pytest.raises(CannotCreateOutput, match="chmod go-w"):
        create_folder(work, PRIVATE)
    own = (user.pw_name, "x", user.pw_gid, [])
    work.chmod(0o777)
    with pytest.raises(CannotCreateOutput, match="chmod go-w"):
        create_folder(work, PRIVATE)


@pytest.mark.parametrize("text", ["[execution]\nhash_method = content\n", "no section\n"])
def test_a_configuration_in_the_current_folder_is_not_read(tmp_path: Path, text: str) -> None:
    """nipype would read it, and a folder of data could change what a run does."""
    (tmp_path / "nipype.cfg").write_text(text)
    told = (
        "import qsmxt_app.workflows.node_base, nipype; print(nipype.config.get('execution', 'hash_method'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", told], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == "timestamp", ran.stderr


def test_compiled_code_is_not_taken_from_a_folder_that_others_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """numba keeps it in pickles."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    command = [str(tmp_path / "raw"), str(tmp_path / "out"), "participant"]
    assert main(command) == 66
    assert cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(0o777)
    capsys.readouterr()
    assert main(command) == 73
    (line,) = capsys.readouterr().err.splitlines()
    assert str(cache) in line and "NUMBA_CACHE_DIR" in line
