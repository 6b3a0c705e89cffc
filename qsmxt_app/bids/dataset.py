"""Reading a raw BIDS dataset: which scans there are that a susceptibility map can be made of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmxt_app.bids.acquisition import Acquisition, Found, Problem
from qsmxt_app.bids.assembly import ImageFile
from qsmxt_app.bids.entities import IMAGE_EXTENSIONS, is_label, natural, parse_name
from qsmxt_app.bids.layout import RAW_FOLDERS, files, open_layout
from qsmxt_app.bids.r2_images import R2_SUFFIXES
from qsmxt_app.bids.scans import (
    QSM_SUFFIXES,
    T1W_SUFFIXES,
    assemble_scans,
    distinct_names,
    with_r2,
    with_t1w,
)
from qsmxt_app.bids.selection import ANATOMICAL, Selection, select_labels
from qsmxt_app.bids.sidecars import Sidecars
from qsmxt_app.errors import NoInput, NothingSelected, UnusableData

QUERIES: dict[str, dict[str, Any]] = {
    **{suffix.lower(): {"suffix": suffix} for suffix in QSM_SUFFIXES},
    "t1w": {"suffix": list(T1W_SUFFIXES), "part": [None, "mag"]},
    "r2": {"suffix": list(R2_SUFFIXES), "part": [None, "mag"]},
}
"""What is looked for in a dataset; a filter file changes these."""
QSM_QUERIES = tuple(name for name in QUERIES if name not in ANATOMICAL)


@dataclass(frozen=True)
class Dataset:
    """A raw dataset: its folder, the labels of its participants in natural order, and a saved index."""

    root: Path
    subjects: tuple[str, ...]
    database_dir: Path | None = None
    misnamed: tuple[str, ...] = ()
    """A sentence for each folder that looks like a participant's and has no label of BIDS."""


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
        subjects, misnamed = _subjects(root), _misnamed(root, "sub-")
    except FileNotFoundError as error:
        raise NoInput(f"{path}: no such folder.", "Give the folder of a BIDS dataset.") from error
    except NotADirectoryError as error:
        raise NoInput(f"{path}: a file.", "Give the folder of a BIDS dataset.") from error
    except OSError as error:
        raise NoInput(f"{path}: cannot be read ({error.strerror}).", "Check its permissions.") from error
    if not subjects:
        raise NoInput(*misnamed[:1] or [f"{path}: no sub- folder.", "Give the folder of a BIDS dataset."])
    return Dataset(root, tuple(subjects), database_dir, tuple(misnamed))


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
    names = [path.name.removeprefix("sub-") for path in _folders(folder, "sub-")]
    return sorted((label for label in names if is_label(label)), key=natural)


def _misnamed(folder: Path, prefix: str) -> list[str]:
    """Return a sentence for each folder whose label is none."""
    return [
        f"{path}: a BIDS label has only letters and digits; rename it and its files, for example to "
        f"{prefix}{re.sub('[^0-9A-Za-z]', '', path.name.removeprefix(prefix)) or '01'}."
        for path in sorted(_folders(folder, prefix))
        if not is_label(path.name.removeprefix(prefix))
    ]


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
    notes = [] if selection.participants else list(dataset.misnamed)
    for subject in subjects:
        if problem := _unusable_folder(dataset.root, subject):
            problems.append(problem)
            continue
        notes += _wrong_names([name for found in wanted.values() for name in found.misnamed.get(subject, ())])
        candidates = sorted(
            (image for name in QSM_QUERIES for image in wanted[name].named.get(subject, ())),
            key=lambda image: _place(image.path),
        )
        if not candidates:
            missing = f"sub-{subject}: no gradient-echo image ({', '.join(QSM_SUFFIXES)}) is selected."
            if selection.participants:
                problems.append(Problem(subject, None, None, missing, "Do not name it.", NoInput.exit_code))
            else:
                notes.append(missing)
            continue
        found, failed, left_out = assemble_scans(
            sorted(candidates, key=lambda image: _place(image.path)), sidecars, selection
        )
        t1w, r2 = (wanted[name].named.get(subject, []) for name in ANATOMICAL)
        acquisitions += distinct_names(
            [with_r2(with_t1w(acquisition, t1w), r2, sidecars) for acquisition in found]
        )
        problems += failed
        notes += left_out
    if not acquisitions and all(problem.file is None for problem in problems):
        every = [_images(layout, dataset.root, own | QUERIES[name]) for name in QSM_QUERIES]
        _refuse(dataset, selection, [images for found in every for images in found.named.values()])
    return Found(tuple(acquisitions), tuple(problems), tuple(notes))


def _unusable_folder(root: Path, subject: str) -> Problem | None:
    """Return what keeps a participant's folders from being indexed, which pybids passes over."""
    folder = root / f"sub-{subject}"
    try:
        if misnamed := _misnamed(folder, "ses-"):
            return Problem(subject, None, folder, misnamed[0], "", UnusableData.exit_code)
        for parent in [folder, *_folders(folder, "ses-")]:
            for name in RAW_FOLDERS:
                if (parent / name).is_dir():
                    os.scandir(parent / name).close()
    except OSError as error:
        path = Path(str(error.filename))
        message = f"{path}: cannot be read ({error.strerror})."
        return Problem(subject, None, path, message, "Check its permissions.", NoInput.exit_code)
    return None


@dataclass
class _Images:
    """Images that a query selects by participant, and what is wrong with the names of others."""

    named: dict[str, list[ImageFile]] = field(default_factory=dict)
    misnamed: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)


def _images(layout: Any, root: Path, query: Mapping[str, Any]) -> _Images:
    found = _Images()
    for path in sorted(files(layout, {"extension": list(IMAGE_EXTENSIONS), **query}), key=_place):
        name = parse_name(path.name)
        subject = path.relative_to(root).parts[0].removeprefix("sub-")
        if name is None:
            what = "not a BIDS file name: entities are key-label, with letters and digits"
            found.misnamed.setdefault(subject, []).append((path, what))
        elif name.entities.get("sub") != subject:
            found.misnamed.setdefault(subject, []).append((path, "the name of another participant"))
        else:
            found.named.setdefault(subject, []).append(ImageFile(path, name.entities, name.suffix))
    return found


def _wrong_names(found: list[tuple[Path, str]]) -> list[str]:
    """Return one line for each kind of wrong name."""
    kinds: dict[str, list[Path]] = {}
    for path, what in found:
        kinds.setdefault(what, []).append(path)
    return [
        f"{paths[0]}: {what}; left out{f' (and {len(paths) - 1} more)' if len(paths) > 1 else ''}."
        for what, paths in kinds.items()
    ]


def _place(path: Path) -> list[list[tuple[int, str]]]:
    return [natural(part) for part in path.parts]


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
        f"QSM needs part-mag and part-phase files with the suffix {', '.join(QSM_SUFFIXES)} in anat/.",
    )


def _folders(folder: Path, prefix: str) -> list[Path]:
    return [
        folder / entry.name
        for entry in os.scandir(folder)
        if entry.name.startswith(prefix) and entry.is_dir()
    ]
