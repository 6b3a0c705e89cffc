"""Reading a raw BIDS dataset: which scans there are that a susceptibility map can be made of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qsmxt_app.bids.acquisition import Acquisition, Found, Problem
from qsmxt_app.bids.assembly import ImageFile, assemble, has_phase
from qsmxt_app.bids.entities import IMAGE_EXTENSIONS, build_name, parse_name
from qsmxt_app.bids.layout import RAW_FOLDERS, files, open_layout
from qsmxt_app.bids.selection import Selection, select_labels
from qsmxt_app.bids.sidecars import Sidecars
from qsmxt_app.errors import NoInput, NothingSelected

QSM_SUFFIXES = ("MEGRE", "T2starw")
T1W_SUFFIXES = ("T1w", "UNIT1")
"""T1-weighted images, the better first: MP2RAGE's uniform image is noisy where there is no head."""
QUERIES: dict[str, dict[str, Any]] = {
    "megre": {"suffix": "MEGRE"},
    "t2starw": {"suffix": "T2starw"},
    "t1w": {"suffix": list(T1W_SUFFIXES), "part": [None, "mag"]},
}
"""What is looked for in a dataset; a filter file changes these."""
QSM_QUERIES = tuple(name for name in QUERIES if name != "t1w")


@dataclass(frozen=True)
class Dataset:
    """A raw dataset: its folder, the labels of its participants in natural order, and a saved index."""

    root: Path
    subjects: tuple[str, ...]
    database_dir: Path | None = None


def open_dataset(path: Path, database_dir: Path | None = None) -> Dataset:
    """List the participants of a raw BIDS dataset.

    Parameters
    ----------
    path
        The dataset.
    database_dir
        Folder of a saved index of pybids; made where it does not exist.

    Raises
    ------
    NoInput
        If the folder does not exist, cannot be read, or has no ``sub-`` folder.
    """
    root = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would leave the folder that the user named)
    try:
        subjects = _subjects(root)
    except FileNotFoundError as error:
        raise NoInput(f"{path}: no such folder.", "Give the folder of a BIDS dataset.") from error
    except NotADirectoryError as error:
        raise NoInput(f"{path}: a file.", "Give the folder of a BIDS dataset.") from error
    except OSError as error:
        raise NoInput(f"{path}: cannot be read ({error.strerror}).", "Check its permissions.") from error
    if not subjects:
        raise NoInput(f"{path}: no sub- folder.", "Give the folder of a BIDS dataset.")
    return Dataset(root, tuple(subjects), database_dir)


def participant_labels(folder: Path) -> list[str]:
    """Return the labels (without `sub-`) of all participants of a dataset, raw or derived, in natural order.

    Parameters
    ----------
    folder
        Of the dataset; one that does not exist has no participants.
    """
    try:
        return _subjects(folder)
    except FileNotFoundError:
        return []


def _subjects(folder: Path) -> list[str]:
    names = [path.name for path in _folders(folder, "sub-")]
    return sorted(
        (name.removeprefix("sub-") for name in names if parse_name(f"{name}_T1w.json")), key=_natural
    )


def find_acquisitions(dataset: Dataset, selection: Selection | None = None) -> Found:
    """Find the scans to make maps of, and check all that headers and sidecars can tell.

    Parameters
    ----------
    dataset
        From `open_dataset`.
    selection
        What is wanted; everything by default.

    Returns
    -------
    Found
        Acquisitions that can be run, and a problem for each that cannot.

    Raises
    ------
    NothingSelected
        If a participant does not exist, or no image passes the selection.
    NoInput
        If the selected participants have no gradient-echo image at all.
    """
    selection = selection or Selection()
    subjects = select_labels("sub", selection.participants, dataset.subjects)
    layout = open_layout(dataset.root, selection.participants and subjects, database_dir=dataset.database_dir)
    own = {"subject": subjects} if selection.participants else {}
    wanted = {
        name: _images(layout, dataset.root, own | selection.query(name, query))
        for name, query in QUERIES.items()
    }
    sidecars = Sidecars(dataset.root, files(layout, {"extension": ".json"}))
    acquisitions: list[Acquisition] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for subject in subjects:
        if problem := _unreadable(dataset.root, subject):
            problems.append(problem)
            continue
        candidates = [image for name in QSM_QUERIES for image in wanted[name].get(subject, ())]
        if not candidates:
            missing = f"sub-{subject}: no gradient-echo image (MEGRE or T2starw) is selected."
            if selection.participants:
                problems.append(Problem(subject, None, None, missing, "Do not name it.", NoInput.exit_code))
            else:
                notes.append(missing)
            continue
        found, failed, left_out = _assemble_scans(sorted(candidates, key=_place), sidecars)
        t1w = wanted["t1w"].get(subject, [])
        acquisitions += _distinct_names([_with_t1w(acquisition, t1w) for acquisition in found])
        problems += failed
        notes += left_out
    if not acquisitions and all(problem.file is None for problem in problems):
        _refuse(
            dataset,
            selection,
            [
                found
                for name in QSM_QUERIES
                for found in _images(layout, dataset.root, own | QUERIES[name]).values()
            ],
        )
    return Found(tuple(acquisitions), tuple(problems), tuple(notes))


def _unreadable(root: Path, subject: str) -> Problem | None:
    """Return what keeps a participant's folders from being listed, which pybids passes over."""
    folder = root / f"sub-{subject}"
    try:
        for parent in [folder, *_folders(folder, "ses-")]:
            for name in RAW_FOLDERS:
                if (parent / name).is_dir():
                    os.scandir(parent / name).close()
    except OSError as error:
        path = Path(str(error.filename))
        message = f"{path}: cannot be read ({error.strerror})."
        return Problem(subject, None, path, message, "Check its permissions.", NoInput.exit_code)
    return None


def _images(layout: Any, root: Path, query: Mapping[str, Any]) -> dict[str, list[ImageFile]]:
    """Images of each participant that a query selects, in natural order."""
    found: dict[str, list[ImageFile]] = {}
    for path in files(layout, {"extension": list(IMAGE_EXTENSIONS), **query}):
        name = parse_name(path.name)
        folder = path.relative_to(root).parts[0]
        if name and folder == f"sub-{name.entities.get('sub')}":
            found.setdefault(name.entities["sub"], []).append(ImageFile(path, name.entities, name.suffix))
    return {subject: sorted(images, key=_place) for subject, images in found.items()}


def _place(image: ImageFile) -> list[list[tuple[int, str]]]:
    return [_natural(part) for part in image.path.parts]


def _refuse(dataset: Dataset, selection: Selection, offered: Iterable[list[ImageFile]]) -> None:
    phase = [image for images in offered for image in images if image.part != "mag"]
    if phase and selection.narrows:
        there = sorted({image.path.name.split(".")[0] for image in phase})[:3]
        raise NothingSelected(
            f"{dataset.root}: no gradient-echo image passes the selection of sessions, runs, acquisitions.",
            f"There is, for example, {', '.join(there)}.",
        )
    raise NoInput(
        f"{dataset.root}: no gradient-echo images with phase.",
        "QSM needs part-mag and part-phase files with the suffix MEGRE or T2starw in anat/.",
    )


def _folders(folder: Path, prefix: str) -> list[Path]:
    return [
        folder / entry.name
        for entry in os.scandir(folder)
        if entry.name.startswith(prefix) and entry.is_dir()
    ]


def _assemble_scans(
    images: list[ImageFile], sidecars: Sidecars
) -> tuple[list[Acquisition], list[Problem], list[str]]:
    scans: dict[object, list[ImageFile]] = {}
    for image in images:
        scans.setdefault(image.scan, []).append(image)
    # A magnitude-only T2starw is an ordinary clinical image; a problem only where nothing else is there.
    others = any(has_phase(scan) for scan in scans.values())
    acquisitions: list[Acquisition] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for scan in scans.values():
        if others and scan[0].suffix == "T2starw" and not has_phase(scan):
            notes.append(f"{scan[0].path}: no phase; left out.")
            continue
        acquisition, failed = assemble(scan, sidecars)
        problems += failed
        if acquisition:
            acquisitions.append(acquisition)
    return acquisitions, problems, notes


def _with_t1w(acquisition: Acquisition, images: list[ImageFile]) -> Acquisition:
    """Add the plainest T1w of the session (fewest entities, first run), or of another with a warning."""
    if not images:
        return acquisition
    own = [image for image in images if image.entities.get("ses") == acquisition.session]
    # min() keeps the first in natural order among equals.
    best = min(own or images, key=lambda image: (T1W_SUFFIXES.index(image.suffix), len(image.entities)))
    others = [image.path.name for image in own if image.suffix == best.suffix and image is not best]
    warnings = acquisition.warnings
    if not own:
        warnings += (f"no T1w in this session; {best.path.name} is used",)
    elif others:
        warnings += (f"several T1w in this session; {best.path.name} is used, not {', '.join(others)}",)
    return replace(acquisition, t1w=best.path, warnings=warnings)


def _distinct_names(acquisitions: list[Acquisition]) -> list[Acquisition]:
    """Keep a MEGRE and a T2starw scan with the same entities from writing to the same files."""
    taken: set[str] = set()
    distinct = []
    for acquisition in sorted(acquisitions, key=lambda one: QSM_SUFFIXES.index(one.suffix)):
        entities = acquisition.output_entities
        if acquisition.stem in taken:
            label = "+".join(filter(None, [entities.get("acq"), acquisition.suffix]))
            named = build_name(entities | {"acq": label}, "x", "").removesuffix("_x")
            entities = dict(pair.split("-", 1) for pair in named.split("_"))
        renamed = replace(acquisition, output_entities=entities)
        taken.add(renamed.stem)
        distinct.append(renamed)
    return distinct


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts run-2 before run-10."""
    return [(int(digits or -1), word) for digits, word in re.findall(r"(\d+)|(\D+)", name)]
