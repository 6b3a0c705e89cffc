"""An atlas saved as it is in memory: building the default one again takes many times as long."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from qsmxt_app.registration import Image
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.regions import read_regions, regions_table

ATLAS_FILE = "atlas.json"
_T1W, _LABELS, _CHI, _REGIONS = "T1w.nii", "dseg.nii", "Chimap.nii", "dseg.tsv"


def save_atlas(atlas: Atlas, folder: Path) -> Path:
    """Write an atlas for later steps of the same run.

    Returns
    -------
    Path
        The file that `load_saved_atlas` reads.
    """
    folder.mkdir(exist_ok=True)
    _write(atlas.t1w, np.float32, folder / _T1W)
    _write(atlas.labels, np.int32, folder / _LABELS)
    if atlas.chi is not None:
        _write(atlas.chi, np.float32, folder / _CHI)
    (folder / _REGIONS).write_text(regions_table(atlas.regions), encoding="utf-8")
    path = folder / ATLAS_FILE
    content = {
        "name": atlas.name,
        "sources": atlas.sources,
        "chi": atlas.chi is not None,
        "space": atlas.space,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def load_saved_atlas(path: Path) -> Atlas:
    """Read an atlas that `save_atlas` wrote."""
    content, folder = json.loads(path.read_text(encoding="utf-8")), path.parent
    return Atlas(
        content["name"],
        _read(folder / _T1W),
        _read(folder / _LABELS),
        read_regions(folder / _REGIONS),
        _read(folder / _CHI) if content["chi"] else None,
        tuple(content["sources"]),
        content["space"],
    )


def _write(image: Image, kind: type[np.generic], path: Path) -> None:
    stored = np.asarray(image.array).astype(kind, copy=False)
    nib.nifti1.Nifti1Image(stored, image.affine).to_filename(path)


def _read(path: Path) -> Image:
    image = nib.nifti1.load(path)
    return Image(np.asarray(image.dataobj), np.asarray(image.affine))
