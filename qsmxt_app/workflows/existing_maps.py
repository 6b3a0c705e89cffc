"""Susceptibility maps that another program made: which belongs to which scan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.bids.entities import IMAGE_EXTENSIONS, parse_name
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import NoInput, QsmxtError, UnusableData
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.node_base import read_json

_NATIVE = {"orig", "native", "scanner", "individual", "GRE", "MEGRE", "QSM"}
"""Labels of ``space-`` of maps that lie where they were measured."""
_UNKNOWN = "a program that its dataset does not name"


@dataclass(frozen=True)
class ExistingMap:
    """A map of another program, the units that its sidecar tells, and what made it."""

    path: Path
    units: str
    program: str


def find_existing_maps(
    acquisitions: Sequence[Acquisition], settings: Settings
) -> tuple[list[tuple[Acquisition, ExistingMap | None]], list[Problem]]:
    """Find the map of each scan, where --chimap-derivatives says that there is one.

    Returns
    -------
    tuple
        Scans with their maps (None for all where none are given), and a problem for each scan without one.
    """
    folder = settings.chimap_derivatives
    if folder is None:
        return [(acquisition, None) for acquisition in acquisitions], []
    program = made_by(folder)
    found: list[tuple[Acquisition, ExistingMap | None]] = []
    problems: list[Problem] = []
    for acquisition in acquisitions:
        try:
            path = _map_of(acquisition, folder)
        except QsmxtError as error:
            problems.append(acquisition.problem(error))
            continue
        units = str(read_json(sidecar_path(path)).get("Units") or "")
        found.append((acquisition, ExistingMap(path.absolute(), units, program)))
    return found, problems


def made_by(folder: Path) -> str:
    """Return the programs that a derivative dataset says it was made by, with their versions."""
    try:
        content = json.loads(read_small(folder / "dataset_description.json"))
    except (QsmxtError, OSError, ValueError):
        return _UNKNOWN
    listed = content.get("GeneratedBy", []) if isinstance(content, dict) else []
    if not listed and isinstance(content, dict):  # as BIDS had it before 1.4
        listed = [content.get("PipelineDescription")]
    named = (_named(one) for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict))
    return ", ".join(filter(None, named)) or _UNKNOWN


def _named(program: dict[str, Any]) -> str:
    return " ".join(str(program[key]) for key in ("Name", "Version") if program.get(key))


def _map_of(acquisition: Acquisition, folder: Path) -> Path:
    """Return the map whose entities are those of a scan: the most specific, one without `desc` before others.

    Raises
    ------
    NoInput, UnusableData
        There is none, or several fit equally well.
    """
    ranked: dict[tuple[int, bool], list[Path]] = {}
    for path in _maps_below(folder, acquisition.subject):
        name = parse_name(path.name)
        if name is None or name.entities.get("space", "orig") not in _NATIVE:
            continue
        if (shared := acquisition.shared_entities(name.entities)) is not None:
            ranked.setdefault((-shared, "desc" in name.entities), []).append(path)
    if not ranked:
        raise NoInput(
            f"{acquisition.label}: no map in {folder}.",
            f"It is looked for as sub-{acquisition.subject}/**/{acquisition.stem}_*Chimap.nii[.gz], "
            "in the space of the scan.",
        )
    best = ranked[min(ranked)]
    if len(best) > 1:
        raise UnusableData(
            f"{acquisition.label}: several maps in {folder}: {', '.join(path.name for path in best)}.",
            "Keep one of them.",
        )
    return best[0]


def _maps_below(folder: Path, subject: str) -> Iterable[Path]:
    return sorted(
        path
        for extension in IMAGE_EXTENSIONS
        for path in folder.glob(f"**/sub-{subject}_*Chimap{extension}")
        if not {"figures", "tpl"} & set(path.parts)
    )
