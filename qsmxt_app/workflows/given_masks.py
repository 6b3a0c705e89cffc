"""Masks that the user gives: one for all scans, or one for each from a folder of derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.bids.entities import IMAGE_EXTENSIONS, parse_name
from qsmxt_app.bids.headers import read_header, same_grid
from qsmxt_app.bids.layout import files, open_layout
from qsmxt_app.errors import NoInput, QsmxtError, UnusableData, WrongUsage
from qsmxt_app.settings import MASK_METHODS, Settings

PREFERRED = ("qsm", "brain")
"""Labels of ``desc-``, the better first, where a folder has several masks for a scan."""


def settings_with_masks(
    acquisitions: Sequence[Acquisition], settings: Settings
) -> tuple[list[tuple[Acquisition, Settings]], list[Problem]]:
    """Give each scan the settings with its mask, and check its grid before anything runs.

    Returns
    -------
    tuple
        Scans with their settings, and a problem for each scan that has no mask, or none on its grid.

    Raises
    ------
    WrongUsage
        If both --mask and --masks are given.
    """
    if settings.masks is None and settings.mask in MASK_METHODS:
        return [(acquisition, settings) for acquisition in acquisitions], []
    if settings.masks is not None and "mask" in settings.chosen:
        raise WrongUsage("--mask and --masks exclude each other.", "Give one of them.")
    available = _masks_in(settings.masks, acquisitions) if settings.masks else [Path(settings.mask)]
    usable: list[tuple[Acquisition, Settings]] = []
    problems: list[Problem] = []
    for acquisition in acquisitions:
        try:
            mask = _mask_of(acquisition, available, settings.masks)
        except QsmxtError as error:
            problems.append(acquisition.problem(error))
            continue
        chosen = settings.chosen | {"mask"}
        usable.append((acquisition, replace(settings, mask=str(mask.absolute()), chosen=chosen)))
    return usable, problems


def _masks_in(folder: Path, acquisitions: Sequence[Acquisition]) -> list[Path]:
    root = folder.absolute()
    layout = open_layout(root, sorted({acquisition.subject for acquisition in acquisitions}))
    return files(layout, {"suffix": "mask", "extension": list(IMAGE_EXTENSIONS)})


def _mask_of(acquisition: Acquisition, available: Sequence[Path], folder: Path | None) -> Path:
    candidates = list(available) if folder is None else _named_for(acquisition, available)
    if not candidates:
        raise NoInput(
            f"{acquisition.label}: no mask in {folder}.",
            f"It is looked for as {acquisition.stem}_desc-*_mask.nii.gz in anat/ of its participant.",
        )
    own = read_header(acquisition.files[0])
    fitting = [path for path in candidates if same_grid(read_header(path), own)]
    if not fitting:
        raise UnusableData(
            f"{candidates[0]}: not on the grid of {own.path.name}.", "Resample the mask to the magnitude."
        )
    return fitting[0]


def _named_for(acquisition: Acquisition, available: Sequence[Path]) -> list[Path]:
    """Masks whose entities are those of a scan, the most specific first."""
    found: list[tuple[int, int, Path]] = []
    for path in available:
        name = parse_name(path.name)
        if name is None:
            continue
        if (shared := acquisition.shared_entities(name.entities)) is not None:
            described = name.entities.get("desc", "")
            rank = (*PREFERRED, described).index(described)
            found.append((-shared, rank, path))
    return [path for _, _, path in sorted(found)]
