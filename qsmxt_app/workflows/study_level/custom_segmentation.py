"""A custom segmentation: its space, and its values in each participant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsmxt_app.bids.acquisition_images import read_image
from qsmxt_app.bids.entities import parse_name
from qsmxt_app.bids.headers import read_header, same_grid
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import NothingSelected, UnusableData, WrongUsage
from qsmxt_app.group.custom_segmentation import custom_regions, is_label_description, read_label_description
from qsmxt_app.segment.regions import Region, read_regions
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.study_level.inputs import GroupScan

TEMPLATE = "template"


@dataclass(frozen=True)
class CustomSegmentation:
    """A segmentation that the user gave.

    Attributes
    ----------
    file
        Its image.
    regions
        Of the labels in it.
    atlas
        What tables call it: letters and digits.
    """

    file: Path
    regions: tuple[Region, ...]
    atlas: str


def read_custom_segmentation(settings: Settings) -> CustomSegmentation | None:
    """Read the segmentation that the user gave, and the names of its labels.

    Raises
    ------
    UnusableData
        It holds no labels, or the names cannot be understood.
    WrongUsage
        Names without a segmentation.
    """
    file = settings.custom_dseg
    if file is None:
        if settings.custom_labels:
            raise WrongUsage("--custom-labels without --custom-dseg.", "Give both.")
        return None
    values = read_image(file)
    if values.ndim != 3 or not np.array_equal(values, np.rint(values)):
        raise UnusableData(f"{file}: not an image of whole numbers in three dimensions.", "Give the labels.")
    names = _read_names(settings.custom_labels) if settings.custom_labels else ()
    try:
        regions = custom_regions(names, np.unique(values).astype(int))
    except ValueError as error:
        raise UnusableData(f"{file}: {error}.", "Draw at least one label.") from error
    label = parse_name(file.name)
    atlas = label.entities.get("seg") if label else None
    return CustomSegmentation(
        file, regions, atlas or re.sub(r"[^0-9A-Za-z]", "", file.name.split(".")[0]) or "custom"
    )


def custom_segmentation_on(
    custom: CustomSegmentation,
    settings: Settings,
    scans: Sequence[GroupScan],
    like: Path | None,
    template: str,
) -> GroupScan | None:
    """Find the space of a custom segmentation.

    The user says so, or the name of the file, or else its grid is that of the template or of one scan.

    Parameters
    ----------
    custom
        The segmentation.
    settings
        Of the run.
    scans
        In whose space it may be.
    like
        Image on the template's grid, if there is a template.
    template
        Its name.

    Returns
    -------
    GroupScan or None
        None: on the template.

    Raises
    ------
    WrongUsage
        It could be several, or none.
    NothingSelected
        The scan was not found.
    """
    if settings.custom_space:
        return None if settings.custom_space == TEMPLATE else _named(settings.custom_space, scans)
    name = parse_name(custom.file.name)
    wanted = name.entities if name else {}
    if wanted.get("space") == template or custom.file.name.startswith(f"tpl-{template}_"):
        return None
    header = read_header(custom.file)
    fits: list[GroupScan | None] = [
        scan for scan in scans if same_grid(read_header(scan.files["chi"]), header)
    ]
    if "sub" in wanted:
        own = [scan for scan in fits if scan and _is_part(scan.entities, wanted)]
        fits = list(own) or fits
    elif like is not None and same_grid(read_header(like), header):
        fits.append(None)
    if len(fits) == 1:
        return fits[0]
    what = f"fits {len(fits)} scans" if fits else "fits neither the template nor any scan"
    raise WrongUsage(
        f"--custom-dseg {custom.file}: its grid {what}.",
        "Name its space: --custom-space template, or --custom-space sub-01.",
    )


def region_inputs(regions: Sequence[Region]) -> list[dict[str, Any]]:
    """Return regions as plain values, which nipype can hash."""
    return [asdict(region) for region in regions]


def _read_names(path: Path) -> tuple[Region, ...]:
    text = read_small(path, "replace")
    if not is_label_description(text):
        return read_regions(path)
    try:
        return read_label_description(text)
    except ValueError as error:
        raise UnusableData(f"{path}: {error}.", "Export the label descriptions again.") from error


def _named(name: str, scans: Sequence[GroupScan]) -> GroupScan:
    wanted = dict(part.partition("-")[::2] for part in name.split("_"))
    fits = [scan for scan in scans if _is_part(scan.entities, wanted)]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise NothingSelected(
            f"--custom-space {name}: no scan of the group has this name.",
            f"Choose template or one of: {', '.join(scan.stem for scan in scans[:20])}.",
        )
    raise WrongUsage(
        f"--custom-space {name} matches {len(fits)} scans.",
        f"Choose one of: {', '.join(scan.stem for scan in fits[:20])}.",
    )


def _is_part(entities: Any, wanted: Any) -> bool:
    return all(
        entities.get(key) == wanted[key] for key in ("sub", "ses", "acq", "run", "rec") if key in wanted
    )
