"""The papers behind the methods, by citation key."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from qsmxt_app.bibliography import Reference
from qsmxt_app.maps import MAPS
from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.separation import SEPARATION_METHODS
from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS


def all_references() -> dict[str, Reference]:
    """Return all publications by key: of `references.toml`, and of registered methods and maps."""
    registries = (UNWRAPPING_METHODS, BACKGROUND_METHODS, INVERSION_METHODS, SEPARATION_METHODS)
    methods = [method for registry in (*registries, MAPS) for method in registry.values()]
    return _listed() | {paper.key: paper for method in methods for paper in method.papers}


@cache
def _listed() -> dict[str, Reference]:
    source = resources.files("qsmxt_app.report") / "references.toml"
    entries = tomllib.loads(source.read_text(encoding="utf-8"))
    return {
        key: Reference(key=key, authors=tuple(entry.pop("authors")), **entry)
        for key, entry in entries.items()
    }
