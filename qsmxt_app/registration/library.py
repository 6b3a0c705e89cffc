"""The one module that imports antspyx. Others import it from here, inside the functions that need it.

ITK splits its sums among threads, so that the last digits of a registration depend on their number; one
thread gives the same bytes on every machine. ITK reads the number from the environment once, when it first
works in a process, hence importing this module sets it for the process.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

_THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
RANDOM_SEED = 42
"""Of the places where metrics are sampled."""

os.environ[_THREADS] = "1"

import ants  # noqa: E402

__all__ = ["RANDOM_SEED", "ants", "run_registration"]


def run_registration(arguments: list[Any]) -> None:
    """Run ``antsRegistration`` in this process, on one thread.

    Raises
    ------
    RuntimeError
        It failed; ITK has said why on standard error.
    """
    os.environ[_THREADS] = "1"
    library: ModuleType = ants
    library.registration([str(a) for a in arguments], None)
