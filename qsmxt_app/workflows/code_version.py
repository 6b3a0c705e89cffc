"""The source code that a step's result depends on."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

PHYSICS = ("qsmxt_app.qsm.", "qsmxt_app.registration.", "qsmxt_app.segment.")
"""Modules that compute, at any remove of which the version of a step changes."""


def sources_of(modules: Iterable[str]) -> list[str]:
    """Return the text of modules and of all modules of the physics that they import, at any remove.

    Parameters
    ----------
    modules
        Full names of modules or packages.
    """
    waiting, found = sorted(modules), {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            text, imported = _read(name)
            found[name] = text
            waiting += [other for other in imported if f"{other}.".startswith(PHYSICS)]
    return [found[name] for name in sorted(found)]


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Text of a module, and the modules that it may import."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    text = Path(spec.origin).read_text(encoding="utf-8")
    imported: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), spec.parent)
            # `from package import name`: a module, or something that the package itself holds
            imported += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return text, tuple(other for other in imported if _is_module(other))


@cache
def _is_module(name: str) -> bool:
    if not f"{name}.".startswith(PHYSICS):
        return False
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
