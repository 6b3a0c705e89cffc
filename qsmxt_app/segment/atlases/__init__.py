"""The built-in atlases by name. Adding one takes a module in this package and its line in `ATLASES`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from qsmxt_app.segment.atlases.declaration import BuiltInAtlas

__all__ = ["ATLASES", "AtlasRegistry", "BuiltInAtlas"]


class AtlasRegistry(Mapping[str, BuiltInAtlas]):
    """Atlases by name. A module is imported only when its atlas is looked up, so that listing is cheap.

    Parameters
    ----------
    *modules
        Full names of modules that hold a `BuiltInAtlas` as `ATLAS`; the last part is the name of the atlas.
    """

    def __init__(self, *modules: str) -> None:
        self.modules = {module.rpartition(".")[2]: module for module in modules}

    def __getitem__(self, name: str) -> BuiltInAtlas:
        atlas: BuiltInAtlas = importlib.import_module(self.modules[name]).ATLAS
        return atlas

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def __contains__(self, name: object) -> bool:
        return name in self.modules


ATLASES = AtlasRegistry(
    "qsmxt_app.segment.atlases.qsmxt",
)
