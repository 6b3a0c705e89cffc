"""A home, a temporary folder and compiled kernels, on machines that give a process none of them.

Containers run with a user id that has no name, without HOME, on a root that cannot be written to. numba,
matplotlib, nipype and ITK write to the home and to caches all the same, and numba refuses to work without.
What is done here goes through environment variables that those libraries read when they are imported, so
entry points do it before any of them. Where the machine offers everything, as a usual one does, nothing is
changed.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

PREPARED = Path(sys.prefix, "share", "qsmxt", "cache")
"""What an image holds: kernels of numba and fonts of matplotlib, made when it was built."""

KERNELS = "numba"
FONTS = "matplotlib"

PORTABLE_CPU = {
    "x86_64": ("x86-64-v3", "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"),
    "aarch64": ("generic", "+neon"),  # every such processor
}
"""Processor that kernels in an image are compiled for: name and features in the words of LLVM."""

_NEEDED_FLAGS = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp", "/dev/shm")  # noqa: S108 (where Python looks, and memory)


def setup(environment: MutableMapping[str, str] = os.environ, prepared: Path = PREPARED) -> Path | None:
    """Name a place for everything that libraries write, in the environment.

    Parameters
    ----------
    environment
        Where the names are read from and written to.
    prepared
        Folder with the caches that were made when an image was built; it need not exist.

    Returns
    -------
    Path or None
        A private folder that stands in for what is missing; the caller removes it.
    """
    environment.setdefault("NIPYPE_NO_ET", "1")  # nipype sends no usage statistics
    temporary = _temporary_folder(environment)
    homeless = not _writable(_home(environment))
    kernels = prepared / KERNELS
    use_kernels = kernels.is_dir() and "NUMBA_CACHE_DIR" not in environment and runs_portable_kernels()
    copy_kernels = use_kernels and not _writable(kernels)
    private = None
    if temporary is not None and (homeless or copy_kernels):
        private = Path(tempfile.mkdtemp(prefix="qsmxt-", dir=temporary))
    if private is not None and homeless:
        environment["HOME"] = str(private)
        for name in [name for name in environment if name.startswith("XDG_")]:
            del environment[name]
        _link(prepared / FONTS, private / ".cache" / "matplotlib")
    if private is not None and copy_kernels:
        _link(kernels, private / KERNELS)
        kernels = private / KERNELS
    if use_kernels and (private is not None or not copy_kernels):
        environment["NUMBA_CACHE_DIR"] = str(kernels)
        environment["NUMBA_CPU_NAME"], environment["NUMBA_CPU_FEATURES"] = PORTABLE_CPU[platform.machine()]
    return private


def setup_process() -> None:
    """Call `setup`, and remove the private folder when this process ends; its children do not remove it."""
    private = setup()
    if private is not None:
        atexit.register(_remove, private, os.getpid())


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block, and restore them after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def outside_current_folder() -> Iterator[None]:
    """Work in the root of the file system within the block.

    numba, nipype and matplotlib read settings from the current folder when they are imported, and a Python
    that is started by `-c` imports from it.
    """
    before = os.open(os.curdir, getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.chdir(os.sep)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def runs_portable_kernels(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether this processor can run the kernels of an image."""
    if platform.machine() != "x86_64":
        return platform.machine() in PORTABLE_CPU
    try:
        lines = cpu_info.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return set(flags) >= _NEEDED_FLAGS


def _home(environment: MutableMapping[str, str]) -> Path | None:
    if environment.get("HOME"):
        return Path(environment["HOME"])
    home = os.path.expanduser("~")  # noqa: PTH111 (Path.home raises for a user without a name)
    return None if home == "~" else Path(home)


def _temporary_folder(environment: MutableMapping[str, str]) -> Path | None:
    """Return where temporary files go; never the current folder, which may be the user's data."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        if name in environment:
            if _writable(Path(environment[name])):
                return Path(environment[name])
            del environment[name]
    found = next((path for path in map(Path, _TEMPORARY) if _writable(path)), None)
    if found is not None and found != Path(_TEMPORARY[0]):
        environment["TMPDIR"] = str(found)
    return found


def _writable(path: Path | None) -> bool:
    return path is not None and path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _link(source: Path, target: Path) -> None:
    """Repeat a tree of files as links: libraries replace a file that they renew, and never write into it."""
    for file in _files(source):
        link = target / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else iter(())


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
