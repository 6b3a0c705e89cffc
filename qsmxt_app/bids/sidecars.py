"""JSON sidecars, with the inheritance principle of BIDS."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qsmxt_app.bids.entities import FileName, parse_name
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import UnusableData

LONGEST_INTEGER = 300
"""Digits that every float can hold."""


class Sidecars:
    """Reads the metadata of images; each JSON file is read once.

    pybids could keep metadata in its index, too: it would read them all before anything is known to be
    wanted, fail altogether where one file is damaged, and take five times as long (`benchmarks/index.py`).

    Parameters
    ----------
    root
        The dataset's folder, where inheritance starts.
    paths
        All JSON files that may be sidecars.
    """

    def __init__(self, root: Path, paths: Iterable[Path]) -> None:
        self._root = root
        self._folders: dict[Path, list[tuple[FileName, Path]]] = {}
        self._contents: dict[Path, dict[str, Any]] = {}
        for path in paths:
            if name := parse_name(path.name):
                self._folders.setdefault(path.parent, []).append((name, path))

    def metadata(self, image: Path) -> dict[str, Any]:
        """Merge all sidecars that apply to an image, the nearest and most specific last.

        A sidecar applies when it lies in the image's folder or one above it, has the image's suffix, and
        names no entity that the image does not have with the same label.

        Raises
        ------
        UnusableData
            If a sidecar that applies is not a JSON object.
        NoInput
            If it cannot be read.
        """
        name = parse_name(image.name)
        if name is None:
            raise UnusableData(f"{image}: not a BIDS file name.")
        merged: dict[str, Any] = {}
        for depth in range(len(image.parent.relative_to(self._root).parts), -1, -1):
            applying = [
                (len(sidecar.entities), path)
                for sidecar, path in self._folders.get(image.parents[depth], ())
                if sidecar.suffix == name.suffix and sidecar.entities.items() <= name.entities.items()
            ]
            for _, path in sorted(applying):
                merged |= self._read(path)
        return merged

    def _read(self, path: Path) -> dict[str, Any]:
        if path not in self._contents:
            self._contents[path] = read_json_object(path)
        return self._contents[path]


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object; a byte order mark at its start does no harm.

    Raises
    ------
    UnusableData
        If it is not JSON, not an object, not a regular file, or larger than any sidecar.
    NoInput
        If it cannot be read.
    """
    try:
        content = json.loads(read_small(path), parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise UnusableData(f"{path}: not valid JSON ({error}).", "Correct the file.") from error
    if not isinstance(content, dict):
        raise UnusableData(f"{path}: holds no JSON object.", "A sidecar is of the form {...}.")
    return content


def _number(digits: str) -> float:
    """Return an integer, or infinity for one beyond any float: readers of numbers refuse that."""
    return int(digits) if len(digits) < LONGEST_INTEGER else float(digits)
