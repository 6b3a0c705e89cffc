"""What holds for every test: bounded threads, no fork of a process that has some, and where real data are."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SHARE = max(1, CORES // WORKERS)

# the tests start hundreds of processes, and each of them would compile 350 modules again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# what Deno compiles of the BIDS validator
os.environ.setdefault("DENO_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "deno"))

# before numpy is imported, by what is imported below
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = str(SHARE)
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(SHARE)


def _refuse() -> NoReturn:
    raise RuntimeError("a fork of a process with threads may hang: take the fixture `processes`")


os.fork = _refuse
# how long one example takes says nothing on a machine that does other things besides
hypothesis.settings.register_profile("qsmxt", deadline=None)
hypothesis.settings.load_profile("qsmxt")


@pytest.fixture(scope="session", autouse=True)
def prepared_process() -> None:
    """Prepare this process as an entry point does, and let workers of pytest-xdist share the cores."""
    from qsmxt_app.environment import setup_process

    setup_process()
    import numba

    numba.set_num_threads(min(SHARE, numba.config.NUMBA_NUM_THREADS))


@pytest.fixture(scope="session")
def processes() -> Any:
    """Context of processes that are forked from a server without threads."""
    from qsmxt_app.workflows.limits import threads_of_new_processes
    from qsmxt_app.workflows.local_executor import PRELOADED

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))  # runs in this process share the server
    with threads_of_new_processes(1):
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real scanner data; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("QSMXT_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real scanner data at {folder}: set QSMXT_TEST_DATA")
    return folder
