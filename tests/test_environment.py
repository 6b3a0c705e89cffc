"""A home, caches and kernels for a process that the machine gives none."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qsmxt_app import environment as environment_module
from qsmxt_app.environment import PORTABLE_CPU, runs_portable_kernels, setup

REPOSITORY = Path(__file__).parents[1]

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="a read-only mount needs root and unshare"
)
needs_kernels = pytest.mark.skipif(
    not runs_portable_kernels(), reason="kernels of the image are for other processors"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    (folder / "numba" / "tgv_1").mkdir(parents=True)
    (folder / "numba" / "tgv_1" / "sweep.nbi").write_bytes(b"index")
    (folder / "matplotlib").mkdir()
    (folder / "matplotlib" / "fontlist.json").write_text("{}")
    return folder


def test_a_usual_machine_is_left_as_it_is(home: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(home), "TMPDIR": str(tmp_path)}
    assert setup(environment, tmp_path / "none") is None
    assert environment == {"HOME": str(home), "TMPDIR": str(tmp_path), "NIPYPE_NO_ET": "1"}


def test_a_missing_home_is_replaced_by_a_private_folder(tmp_path: Path, prepared: Path) -> None:
    missing = str(tmp_path / "missing")
    environment = {"HOME": missing, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": f"{missing}/cache"}
    private = setup(environment, prepared)
    assert private is not None
    assert environment["HOME"] == str(private)
    assert "XDG_CACHE_HOME" not in environment
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert (private / ".cache" / "matplotlib" / "fontlist.json").read_text() == "{}"


def test_a_bad_temporary_folder_is_replaced(home: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(home), "TMPDIR": str(tmp_path / "missing")}
    setup(environment, tmp_path)
    assert "TMPDIR" not in environment


@needs_kernels
def test_kernels_are_used_where_they_are_if_new_ones_can_be_added(home: Path, prepared: Path) -> None:
    environment = {"HOME": str(home)}
    assert setup(environment, prepared) is None
    assert environment["NUMBA_CACHE_DIR"] == str(prepared / "numba")
    cpu = (environment["NUMBA_CPU_NAME"], environment["NUMBA_CPU_FEATURES"])
    assert cpu == PORTABLE_CPU[platform.machine()]


@needs_kernels
def test_kernels_that_cannot_be_added_to_are_linked(
    home: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writable = environment_module._writable
    monkeypatch.setattr(
        environment_module, "_writable", lambda path: path != prepared / "numba" and writable(path)
    )
    environment = {"HOME": str(home), "TMPDIR": str(tmp_path)}
    private = setup(environment, prepared)
    assert private is not None
    assert environment["HOME"] == str(home)
    index = Path(environment["NUMBA_CACHE_DIR"]) / "tgv_1" / "sweep.nbi"
    assert index.read_bytes() == b"index"
    index.with_name("new").write_bytes(b"renewed")
    index.with_name("new").replace(index)  # as numba does it
    assert (prepared / "numba" / "tgv_1" / "sweep.nbi").read_bytes() == b"index"


def test_the_cache_that_a_user_names_is_used(home: Path, prepared: Path) -> None:
    environment = {"HOME": str(home), "NUMBA_CACHE_DIR": "/mine"}
    setup(environment, prepared)
    assert environment["NUMBA_CACHE_DIR"] == "/mine"
    assert "NUMBA_CPU_NAME" not in environment


@pytest.mark.skipif(platform.machine() != "x86_64", reason="flags are those of x86-64")
@pytest.mark.parametrize(("flags", "can"), [("sse2 avx", False), ("", False)])
def test_an_old_processor_compiles_its_own_kernels(tmp_path: Path, flags: str, can: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert runs_portable_kernels(info) is can
    assert runs_portable_kernels(tmp_path / "none") is False


@pytest.mark.parametrize(("machine", "can"), [("aarch64", True), ("ppc64le", False)])
def test_other_processors_run_the_kernels_that_are_compiled_for_all_of_their_kind(
    monkeypatch: pytest.MonkeyPatch, machine: str, can: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert runs_portable_kernels() is can


@needs_mounts
def test_kernels_compile_without_home_in_a_package_that_is_read_only(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    source = package / "kernel.py"
    source.write_text("import numba\n\n\n@numba.njit(cache=True)\ndef twice(x):\n    return 2 * x\n")
    program = """
from qsmxt_app.environment import setup_process
setup_process()
import kernel, os
print(kernel.twice(21), os.environ["HOME"])
"""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", package, sys.executable, "-c", program],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{package}:{REPOSITORY}",
            "HOME": str(tmp_path / "missing"),
            "XDG_CACHE_HOME": str(tmp_path / "missing" / "cache"),
        },
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, home = done.stdout.split()
    assert answer == "42"
    assert not list(package.rglob("*.nbi"))
    assert not Path(home).exists()  # removed at the end
