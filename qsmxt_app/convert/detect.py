"""What a folder holds: a BIDS dataset, DICOM files, NIfTI files, or nothing that can be used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qsmxt_app.bids.entities import IMAGE_EXTENSIONS, parse_name
from qsmxt_app.errors import NoInput
from qsmxt_app.terminal import named

Kind = Literal["bids", "dicom", "nifti"]


@dataclass(frozen=True)
class Input:
    """What a folder holds, and its NIfTI files where it holds these, with archives beside them."""

    kind: Kind
    nifti: tuple[Path, ...] = ()
    packed: tuple[str, ...] = ()


def detect_input(folder: Path) -> Input:
    """Tell what a folder holds: BIDS by its layout, DICOM by content, NIfTI by name.

    Raises
    ------
    NoInput
        If it does not exist, cannot be read, or holds none of them.
    """
    if is_bids(folder):
        return Input("bids")
    return _search(folder)


def _search(folder: Path) -> Input:
    """Tell what the files of a folder are that is no BIDS dataset."""
    # pydicom and all that reads headers: a BIDS dataset needs none of it
    from qsmxt_app.convert.dicom.find import UNPACK, list_files
    from qsmxt_app.convert.dicom.header import elements
    from qsmxt_app.convert.dicom.reading import NotDicom, PackedFile, UnusableFile, read_dataset

    # what a file manager leaves beside a file (._name) is not an image
    paths = [Path(path) for path in list_files(folder)[0] if not Path(path).name.startswith(".")]
    nifti = tuple(path for path in paths if path.name.lower().endswith(IMAGE_EXTENSIONS))
    damaged = False
    packed: list[str] = []
    for path in sorted(set(paths).difference(nifti)):
        try:
            read_dataset(path, elements())
        except PackedFile:
            packed.append(path.name)
            continue
        except NotDicom:
            continue
        except (UnusableFile, OSError):
            damaged = True
            continue
        return Input("dicom")
    if nifti:
        return Input("nifti", nifti, tuple(packed))
    if damaged:
        # let the conversion say what is wrong with each file
        return Input("dicom")
    if packed:
        raise NoInput(f"{folder}: not opened: {named(packed, 'archive')}.", f"{UNPACK}.")
    raise NoInput(
        f"{folder}: no BIDS dataset (dataset_description.json, sub- folders), and no DICOM or NIfTI files.",
        "Give the folder that holds them.",
    )


def is_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS dataset, or looks like one without its description.

    Raises
    ------
    NoInput
        If it does not exist or cannot be read.
    """
    hint = "Give the folder of a BIDS dataset, or of DICOM or NIfTI files."
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError as error:
        raise NoInput(f"{folder}: no such folder.", hint) from error
    except NotADirectoryError as error:
        raise NoInput(f"{folder}: a file.", hint) from error
    except OSError as error:
        raise NoInput(f"{folder}: cannot be read ({error.strerror}).", "Check its permissions.") from error
    if any(entry.name == "dataset_description.json" for entry in entries):
        return True
    people = [Path(entry.path) for entry in entries if entry.name.startswith("sub-") and entry.is_dir()]
    return any(_has_named_images(person) for person in people)


def _has_named_images(person: Path) -> bool:
    """Whether images lie where BIDS has them, under names of BIDS."""
    return any(
        name is not None
        and name.extension in IMAGE_EXTENSIONS
        and f"sub-{name.entities.get('sub')}" == person.name
        for pattern in ("[a-z]*/sub-*", "ses-*/[a-z]*/sub-*")
        for name in (parse_name(path.name) for path in person.glob(pattern))
    )
