"""Pickles of nipype are read only where nobody else can put any."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from qsmxt_app.cli import main
from qsmxt_app.errors import CannotCreateOutput
from qsmxt_app.workflows import run_folder
from qsmxt_app.workflows.run_folder import PRIVATE, create_folder


def test_a_new_work_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        work = create_folder(tmp_path / "out" / "work", PRIVATE)
    finally:
        os.umask(before)
    assert work.stat().st_mode & 0o777 == PRIVATE


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o777, 0o1777, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    work = tmp_path / "it's work"
    work.mkdir()
    work.chmod(mode)
    with pytest.raises(CannotCreateOutput, match="by others") as caught:
        create_folder(work, PRIVATE)
    subprocess.run(caught.value.hint.partition(" or: ")[2], shell=True, check=True)  # noqa: S602
    create_folder(work, PRIVATE)


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = create_folder(tmp_path / "work", PRIVATE)
    monkeypatch.setattr(run_folder.os, "geteuid", lambda: work.stat().st_uid + 1)
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
    allowed = {package / "workflows" / "job_machine.py"}
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
