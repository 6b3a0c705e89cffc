"""Nothing is sent, looked up or fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Every module of the package, as in an interactive session, where nipype would report its use.
IMPORT_ALL = """
import importlib, os, pkgutil, socket, sys

before, path = dict(os.environ), list(sys.path)

def refuse(*arguments, **options):
    raise AssertionError(f"network: {arguments}")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import qsmxt_app
for module in pkgutil.walk_packages(qsmxt_app.__path__, "qsmxt_app."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
of_libraries = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"}
assert changed <= of_libraries, changed
assert sys.path == path
import nipype.interfaces.base
nipype.interfaces.base.BaseInterface()
assert "etelemetry" not in sys.modules, "nipype has loaded its telemetry"
"""


def test_importing_everything_asks_nobody_and_changes_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("NIPYPE_NO_ET", "NO_ET")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("strace") is None or shutil.which("unshare") is None,
    reason="needs root, unshare and strace",
)
def test_a_run_opens_no_connection(raw: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = [sys.executable, "-m", "qsmxt_app", str(raw), str(tmp_path / "out"), "participant"]
    # the kernel picks the calls: to stop at each one, as strace does by itself, takes most of the time
    traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    done = subprocess.run(
        ["unshare", "--net", *traced, *command, "--preset", "fast", "--segmentation", "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    calls = [line for line in trace.read_text(errors="replace").splitlines() if "AF_INET" in line]
    assert calls == []
