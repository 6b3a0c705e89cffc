"""Declaration of a built-in atlas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # atlases are listed by the help page, which must not wait for numerical libraries
    from qsmxt_app.segment.atlas import Atlas
    from qsmxt_app.segment.regions import Region


@dataclass(frozen=True)
class BuiltInAtlas:
    """A built-in atlas: its declaration is all that help, plan, labels and methods text read.

    Attributes
    ----------
    summary
        What it labels, in a few words.
    sources
        Where the data come from, with licence or paper, a sentence each.
    phrase
        How the methods text names it, with citations as `[@key]` of `report/references.toml`.
    regions
        Returns what the labels mean, without building the atlas.
    build
        Returns the atlas, named as its module is.
    """

    summary: str
    sources: tuple[str, ...]
    phrase: str
    regions: Callable[[], tuple[Region, ...]]
    build: Callable[[], Atlas]
