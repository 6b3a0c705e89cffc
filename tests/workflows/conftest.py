"""One finished run of the whole command, shared by the tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.cli import main


@dataclass(frozen=True)
class Finished:
    """Where a run read and wrote, and how it ended."""

    raw: Path
    out: Path
    code: int

    def again(self, *arguments: str) -> int:
        """Run the same command once more, with further arguments."""
        return main([str(self.raw), str(self.out), "participant", "--skip-bids-validation", *arguments])

    def nodes_run(self) -> set[str]:
        """Names of the steps that the last run really ran."""
        newest = max((self.out / "logs").glob("*/qsmxt.log"), key=lambda path: path.stat().st_mtime_ns)
        text = newest.read_text(encoding="utf-8")
        return {line.split('"')[1] for line in text.splitlines() if '[Node] Executing "' in line}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    raw = write_mini_dataset(folder / "raw", ("01",), runs=2)
    out = folder / "out"
    return Finished(raw, out, main([str(raw), str(out), "participant", "--no-two-pass"]))
