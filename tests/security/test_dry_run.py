"""A dry run refuses what a run would refuse, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qsmxt_app.cli import main


def _is_the_dataset(raw: Path, out: Path) -> list[str]:
    out.symlink_to(raw)
    return []


def _is_a_file(raw: Path, out: Path) -> list[str]:
    out.write_text("")
    return []


def _has_a_link(raw: Path, out: Path) -> list[str]:
    out.mkdir()
    (out / "logs").symlink_to(raw)
    return []


def _open_work_folder(raw: Path, out: Path) -> list[str]:
    work = out.with_name("work")
    work.mkdir()
    work.chmod(0o777)
    return ["--work-dir", str(work)]


def _work_in_the_dataset(raw: Path, out: Path) -> list[str]:
    return ["--work-dir", str(raw / "work")]


@pytest.mark.parametrize(
    ("prepare", "code", "words"),
    [
        (_is_the_dataset, 73, "is the raw dataset"),
        (_is_a_file, 73, "is a file"),
        (_has_a_link, 73, "is a link"),
        (_open_work_folder, 73, "can be written to by others"),
        (_work_in_the_dataset, 64, "lies inside the raw dataset"),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(
    raw: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path, Path], list[str]],
    code: int,
    words: str,
) -> None:
    out = tmp_path / "out"
    more = prepare(raw, out)
    before = sorted(tmp_path.rglob("*"))
    for options in (["--dry-run"], []):
        arguments = [str(raw), str(out), "participant", "--skip-bids-validation", *more, *options]
        assert main(arguments) == code
        assert words in capsys.readouterr().err
        if options:
            assert sorted(tmp_path.rglob("*")) == before
