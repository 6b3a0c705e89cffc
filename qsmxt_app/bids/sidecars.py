"""JSON sidecars, with the inheritance principle of BIDS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsmxt_app.bids.entities import FileName, parse_name
from qsmxt_app.errors import NoInput, UnusableData


class Sidecars:
    """Reads the metadata of images; each folder is listed and each JSON file read once.

    Parameters
    ----------
    root
        The dataset's folder, where inheritance starts.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[Path, list[tuple[FileName, Path]]] = {}
        self._contents: dict[Path, dict[str, Any]] = {}

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
        for folder in self._folders_down_to(image.parent):
            applying = [
                (len(sidecar.entities), path)
                for sidecar, path in self._sidecars_in(folder)
                if sidecar.suffix == name.suffix and sidecar.entities.items() <= name.entities.items()
            ]
            for _, path in sorted(applying):
                merged |= self._read(path)
        return merged

    def _folders_down_to(self, folder: Path) -> list[Path]:
        inside = folder.relative_to(self._root).parts
        return [self._root.joinpath(*inside[:depth]) for depth in range(len(inside) + 1)]

    def _sidecars_in(self, folder: Path) -> list[tuple[FileName, Path]]:
        if folder not in self._folders:
            found = ((parse_name(path.name), path) for path in folder.glob("*.json"))
            self._folders[folder] = [(name, path) for name, path in found if name is not None]
        return self._folders[folder]

    def _read(self, path: Path) -> dict[str, Any]:
        if path not in self._contents:
            self._contents[path] = read_json_object(path)
        return self._contents[path]


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Raises
    ------
    UnusableData
        If it is not JSON, or not an object.
    NoInput
        If it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnusableData(f"{path}: not valid JSON ({error}).", "Correct the file.") from error
    except OSError as error:
        raise NoInput(
            f"{path}: cannot be read ({error.strerror}).", "Check the file and its permissions."
        ) from error
    if not isinstance(content, dict):
        raise UnusableData(f"{path}: holds no JSON object.", "A sidecar is of the form {...}.")
    return content
