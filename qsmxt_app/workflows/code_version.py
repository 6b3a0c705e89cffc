"""The version of the code that computes a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from qsmxt_app.source_graph import package_graph

DIGITS = 16
"""Of a digest that is kept as an input of a step."""


def code_version(declared: type | Callable[..., Any], but: Collection[str] = ()) -> str:
    """Return a digest of the module of a class or function and of all that it reaches, not by way of some."""
    return package_graph().digest(Path(inspect.getfile(declared)), but)[:DIGITS]
