"""Labels that another program has made already: where they are, and what they say.

Every image is placed by its header. FreeSurfer's volumes lie on a grid of their own (256 voxels of 1 mm), but
their headers keep the scanner's coordinates, and so do those of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from qsmxt_app.bids.entities import parse_name
from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.registration.image import Image
from qsmxt_app.segment.freesurfer import freesurfer_regions, known_regions
from qsmxt_app.segment.regions import Region, read_regions

# The finest labelling first; FastSurfer writes its own endings.
_VOLUMES = (
    "aparc+aseg",
    "aparc.DKTatlas+aseg",
    "aparc.DKTatlas+aseg.mapped",
    "aparc.DKTatlas+aseg.deep",
    "aparc.a2009s+aseg",
    "synthseg",
    "aseg",
    "aseg.auto_noCCseg",
)
_IMAGES = (".mgz", ".nii.gz", ".nii")
# fMRIPrep's and SMRIPrep's labels with FreeSurfer's numbers
_FREESURFER_DESCRIPTIONS = ("aparcaseg", "aseg")
_OWN_SPACE = (None, "T1w")


@dataclass(frozen=True)
class ExistingLabels:
    """Labels of one participant on disk.

    Attributes
    ----------
    image
        The label image.
    table
        Its table; None where the numbers are FreeSurfer's.
    name
        What the labels are called in tables: `aparc+aseg`, `synthseg`.
    """

    image: Path
    table: Path | None
    name: str


def find_labels(folders: Sequence[Path], subject: str, session: str | None) -> ExistingLabels:
    """Find the labels of a participant, in the first folder that has any.

    Parameters
    ----------
    folders
        Of FreeSurfer or FastSurfer (`SUBJECTS_DIR`), SynthSeg's output, or a BIDS derivative such as
        fMRIPrep's, whose `sourcedata/freesurfer` is looked into as well.
    subject, session
        Labels without `sub-` and `ses-`. Labels of the session are preferred, those of the participant
        taken else.

    Raises
    ------
    NoInput
        There are none.
    """
    for folder in folders:
        for found in _candidates(folder, subject, session):
            return found
    whose = f"sub-{subject}" + (f" ses-{session}" if session else "")
    raise NoInput(
        f"--derivatives {', '.join(map(str, folders))}: no labels of {whose}.",
        "Give the folder above sub-*/mri/aseg.mgz, of sub-*_synthseg.nii.gz, or of sub-*/anat/*_dseg.nii.gz.",
    )


def load_labels(found: ExistingLabels) -> tuple[Image, tuple[Region, ...]]:
    """Read labels and what they stand for.

    Returns
    -------
    Image
        int32, where the header places it.
    tuple of Region
        Of the labels in the image.

    Raises
    ------
    UnusableData
        The image is damaged, or holds other than whole numbers.
    """
    try:
        image: Any = nib.load(found.image)
        voxels = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise UnusableData(f"{found.image}: cannot be read ({error}).", "Make the labels again.") from error
    voxels = voxels.reshape(voxels.shape[:3]) if voxels.ndim > 3 and voxels.shape[3:] == (1,) else voxels
    labels = np.rint(voxels).astype(np.int32)
    if voxels.ndim != 3 or not np.array_equal(labels, voxels) or labels.min() < 0 or not labels.any():
        raise UnusableData(f"{found.image}: not a label volume.", "Give integers from 0.")
    present = [int(number) for number in np.unique(labels)]
    if found.table is None:
        regions = freesurfer_regions(present)
    else:
        regions = tuple(region for region in read_regions(found.table) if region.index in present)
    return Image(labels, np.asarray(image.affine, dtype=np.float64)), regions


def regions_of(found: ExistingLabels) -> tuple[Region, ...]:
    """Return what the labels may stand for, without reading the image: some may not be in it."""
    return read_regions(found.table) if found.table else known_regions()


def _candidates(folder: Path, subject: str, session: str | None) -> Iterator[ExistingLabels]:
    yield from _freesurfer(folder, subject, session)
    yield from _synthseg(folder, subject, session)
    yield from _bids(folder, subject, session)


def _freesurfer(folder: Path, subject: str, session: str | None) -> Iterator[ExistingLabels]:
    names = [f"sub-{subject}", subject]
    if session:
        names = [f"sub-{subject}_ses-{session}", f"sub-{subject}_ses-{session}.long.sub-{subject}", *names]
    roots = [folder, folder / "freesurfer", folder / "fastsurfer", folder / "sourcedata" / "freesurfer"]
    for name in names:
        for root in roots:
            for volume in _VOLUMES:
                for ending in _IMAGES:
                    path = root / name / "mri" / f"{volume}{ending}"
                    if path.is_file():
                        yield ExistingLabels(path, None, volume)


def _synthseg(folder: Path, subject: str, session: str | None) -> Iterator[ExistingLabels]:
    for parent in [folder, *_anatomy_folders(folder, subject, session)]:
        images = sorted(parent.glob(f"sub-{subject}_*synthseg*.nii*"))
        own = [image for image in images if f"_ses-{session}_" in image.name]
        others = [image for image in images if "_ses-" not in image.name]
        for image in own if session and own else others:
            yield ExistingLabels(image, None, "synthseg")


def _bids(folder: Path, subject: str, session: str | None) -> Iterator[ExistingLabels]:
    found = []
    for parent in _anatomy_folders(folder, subject, session):
        for path in sorted(parent.glob(f"sub-{subject}_*dseg.nii*")):
            name = parse_name(path.name)
            if name and name.suffix == "dseg" and name.entities.get("space") in _OWN_SPACE:
                found.append((path, name.entities))

    def rank(item: tuple[Path, dict[str, str]]) -> int:
        description = _what(item[1])
        return (*_FREESURFER_DESCRIPTIONS, description).index(description)

    for path, entities in sorted(found, key=rank):
        description = _what(entities)
        table = _table(folder, path, description)
        if table or description in _FREESURFER_DESCRIPTIONS:
            yield ExistingLabels(path, table, description or "dseg")


def _anatomy_folders(folder: Path, subject: str, session: str | None) -> list[Path]:
    person = folder / f"sub-{subject}"
    parents = [person / f"ses-{session}"] if session else []
    return [place for parent in [*parents, person] for place in (parent / "anat", parent)]


def _what(entities: dict[str, str]) -> str:
    """What a label image shows, as its name tells: the segmentation, the atlas, or a description."""
    return entities.get("seg") or entities.get("atlas") or entities.get("desc") or ""


def _table(folder: Path, image: Path, description: str) -> Path | None:
    """Return the table of a label image: beside it, or the one that all participants share."""
    beside = image.with_name(image.name.split(".")[0] + ".tsv")
    shared = (
        [folder / f"{key}-{description}_dseg.tsv" for key in ("desc", "seg", "atlas")] if description else []
    )
    return next((path for path in [beside, *shared, folder / "dseg.tsv"] if path.is_file()), None)
