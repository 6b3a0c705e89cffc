"""Atlases by name: built-in ones, folders, and those in the cache of TemplateFlow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.registration import Image, apply
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_cache import cached_atlas
from qsmxt_app.segment.atlases import ATLASES
from qsmxt_app.segment.regions import Region, read_regions

_TEMPLATEFLOW = "TEMPLATEFLOW_HOME"
_BRAINS = ("desc-brain_T1w", "T1w")
_TABLE = "dseg.tsv"


def load_atlas(name: str | Path) -> Atlas:
    """Find an atlas.

    Parameters
    ----------
    name
        Name of a built-in atlas; a folder with ``T1w.nii.gz``, ``dseg.nii.gz``, ``dseg.tsv`` and maybe
        ``Chimap.nii.gz``; or a template and an atlas of TemplateFlow with a colon between them
        (``MNI152NLin2009cAsym:HOSPA``), looked for in ``$TEMPLATEFLOW_HOME`` or ``~/.cache/templateflow``.
        Nothing is ever downloaded.

    Raises
    ------
    NoInput
        The atlas was not found.
    UnusableData
        Its files do not fit together.
    """
    if str(name) in ATLASES:
        return cached_atlas(str(name))
    folder = Path(name)
    return _from_folder(folder) if folder.is_dir() else _from_templateflow(str(name))


def check_atlas(name: str) -> None:
    """Raise `NoInput` for an atlas whose files are not there; `name` as in `load_atlas`."""
    folder = Path(name)
    if folder.is_dir():
        _files_in(folder)
    elif name not in ATLASES:
        _find_in_templateflow(name)


def atlas_regions(name: str) -> tuple[Region, ...]:
    """Return the regions of an atlas without loading its images; `name` as in `load_atlas`."""
    if name in ATLASES:
        return ATLASES[name].regions()
    folder = Path(name)
    return read_regions(folder / _TABLE if folder.is_dir() else _find_in_templateflow(name).table)


def _from_folder(folder: Path) -> Atlas:
    t1w, labels, table = _files_in(folder)
    chi = folder / "Chimap.nii.gz"
    name = "".join(letter for letter in folder.resolve().name if letter.isalnum()) or "atlas"
    return _checked(
        Atlas(
            name=name,
            t1w=_without_skull(_read(t1w), folder / "mask.nii.gz"),
            labels=_read_labels(labels),
            regions=read_regions(table),
            chi=_read(chi) if chi.exists() else None,
            sources=(f"the atlas in {folder.name}",),
        ),
        folder,
    )


def _files_in(folder: Path) -> list[Path]:
    paths = [folder / file for file in ("T1w.nii.gz", "dseg.nii.gz", _TABLE)]
    for path in paths:
        if not path.exists():
            raise NoInput(f"{path} does not exist.", "An atlas has T1w.nii.gz, dseg.nii.gz and dseg.tsv.")
    return paths


@dataclass(frozen=True)
class _Files:
    """Files of an atlas in TemplateFlow's cache."""

    head: Path
    mask: Path
    labels: Path
    table: Path


def _find_in_templateflow(name: str) -> _Files:
    template, _, atlas = name.partition(":")
    home = Path(os.environ.get(_TEMPLATEFLOW, Path.home() / ".cache" / "templateflow"))
    folder = home / f"tpl-{template}"
    stem = f"tpl-{template}*_res-01"
    labels = sorted(folder.glob(f"{stem}*atlas-{atlas or '*'}*_dseg.nii.gz"))
    heads = [path for kind in _BRAINS for path in sorted(folder.glob(f"{stem}_{kind}.nii.gz"))]
    if not labels or not heads:
        raise NoInput(
            f"Atlas {name!r} was not found: it is neither a folder nor in {home}.",
            f"Built in: {', '.join(ATLASES)}. Atlases of TemplateFlow, once downloaded: TEMPLATE:ATLAS.",
        )
    tables = sorted(folder.glob(f"*atlas-{labels[0].name.split('atlas-')[1].split('_')[0]}*_dseg.tsv"))
    if not tables:
        raise NoInput(f"{labels[0]}: its table of labels is missing.", "Download the atlas's dseg.tsv too.")
    mask = next(iter(sorted(folder.glob(f"{stem}_desc-brain_mask.nii.gz"))), folder / "none")
    return _Files(heads[0], mask, labels[0], tables[-1])


def _from_templateflow(name: str) -> Atlas:
    files = _find_in_templateflow(name)
    found = Atlas(
        name="".join(letter for letter in name if letter.isalnum()),
        t1w=_without_skull(_read(files.head), files.mask),
        labels=_read_labels(files.labels),
        regions=read_regions(files.table),
        sources=(f"{files.labels.name} of TemplateFlow",),
        space=name.partition(":")[0],
    )
    return _checked(found, files.labels.parent)


def _checked(atlas: Atlas, folder: Path) -> Atlas:
    known = {region.index for region in atlas.regions}
    present = set(np.unique(atlas.labels.array).tolist()) - {0}
    if not known & present:
        raise UnusableData(f"{folder}: none of the table's labels is in the image.", "Are they of one atlas?")
    if not atlas.brain.any():
        raise UnusableData(f"{folder}: the T1w image is empty.")
    return atlas


def _without_skull(head: Image, mask: Path) -> Image:
    if not mask.exists():
        return head
    brain = apply(_read(mask), head.grid, interpolation="nearest").array > 0
    return head.with_array(np.where(brain, head.array, 0).astype(np.float32))


def _read(path: Path) -> Image:
    try:
        image = cast(nib.Nifti1Image, nib.load(path))
        array = np.squeeze(np.asarray(image.dataobj, dtype=np.float32))
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise NoInput(f"{path}: cannot be read ({error}).") from error
    if array.ndim != 3:
        raise UnusableData(f"{path}: has the shape {array.shape}; a volume is needed.")
    return Image(array, np.asarray(image.affine, dtype=np.float64))


def _read_labels(path: Path) -> Image:
    image = _read(path)
    return image.with_array(np.rint(image.array).astype(np.int32))
