"""The 3-D viewer of a page: its scans, its code, and the policy that lets only that code run."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from qsmxt_app.report.embedding import Embedded
from qsmxt_app.report.page_script import source


@dataclass(frozen=True)
class ViewerScan:
    """One scan to choose in the viewer.

    Attributes
    ----------
    title
        Name in words.
    volumes
        What there is of `embedding.EMBEDDED`.
    regions
        Name of each label from 1 on, as numbered in the page.
    voxel_size
        Of the volumes in the page, mm.
    """

    title: str
    volumes: Mapping[str, Embedded]
    regions: tuple[str, ...] = ()
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Viewer:
    """All that the template of the viewer needs."""

    scans: Sequence[ViewerScan]

    @property
    def words(self) -> str:
        """Say at which voxel size the volumes are shown."""
        edges = sorted({round(max(scan.voxel_size), 1) for scan in self.scans})
        return f"Volumes are shown with voxels of {' and '.join(f'{edge:g}' for edge in edges)} mm."

    def described(self) -> list[dict[str, Any]]:
        """Return what the script reads of each scan: its words, and where in the page its volumes are."""
        return [
            {
                "title": scan.title,
                "volumes": {key: _identifier(index, key) for key in scan.volumes},
                "regions": list(scan.regions),
            }
            for index, scan in enumerate(self.scans, 1)
        ]

    def contents(self) -> Iterator[tuple[str, Markup]]:
        """Yield identifier and content of each volume."""
        for index, scan in enumerate(self.scans, 1):
            for key, volume in scan.volumes.items():
                yield _identifier(index, key), Markup(volume.content)  # noqa: S704 - base64

    @property
    def script(self) -> Markup:
        """Our part of the viewer."""
        return Markup(_text("viewer.js"))  # noqa: S704 - a file of the package

    @property
    def library(self) -> Markup:
        """NiiVue, compressed, in base64."""
        return _compressed("niivue.umd.js")

    @property
    def sources(self) -> tuple[str, ...]:
        """Hashes of its scripts, for the page's content security policy."""
        return tuple(source(_text(name)) for name in ("viewer.js", "niivue.umd.js"))


def _identifier(index: int, key: str) -> str:
    return f"volume-{index}-{key}"


@cache
def _text(name: str) -> str:
    return files("qsmxt_app.report").joinpath("viewer", name).read_text(encoding="utf-8")


@cache
def _compressed(name: str) -> Markup:
    content = gzip.compress(_text(name).encode(), 9, mtime=0)
    return Markup(base64.b64encode(content).decode("ascii"))  # noqa: S704
