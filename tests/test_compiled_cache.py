"""Kernels that a power loss tore are compiled again."""

from __future__ import annotations

import pickle
import runpy
from pathlib import Path

import numba
import pytest

from qsmxt_app.compiled_cache import kernel_folders, remove_torn_kernels

KERNEL = """
from numba import njit

@njit(cache=True)
def twice(number):
    return 2 * number

result = twice(21)
"""


def _run(kernel: Path) -> int:
    return int(runpy.run_path(str(kernel))["result"])


@pytest.mark.parametrize("content", [b"", bytes(500), None], ids=["empty", "zeros", "cut"])
def test_torn_kernels_are_removed_and_whole_ones_stay(
    tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    kernel = tmp_path / "kernel.py"
    kernel.write_text(KERNEL)
    assert _run(kernel) == 42
    assert remove_torn_kernels([tmp_path]) == []
    files = sorted(path for path in (tmp_path / "cache").rglob("*.nb[ic]"))
    assert len(files) == 2
    for path in files:
        path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        _run(kernel)
    assert sorted(remove_torn_kernels([tmp_path])) == files
    assert _run(kernel) == 42


def test_where_kernels_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert kernel_folders() == [tmp_path]
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "numba" in kernel_folders()
    assert remove_torn_kernels([tmp_path / "absent"]) == []
