from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_here import PACKAGES, missing_programs, running_slurm


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SLURM of one node on this machine."""
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: apt-get install {PACKAGES}")
    with running_slurm(tmp_path_factory.mktemp("slurm")) as configuration:
        yield configuration
