"""The images of the package; where they come from and under which terms is in ``data/LICENSES.md``.

References
----------
Fonov V, et al. NeuroImage 54:313-327 (2011): the average heads. Fischl B, et al. Neuron 33:341-355 (2002),
Desikan RS, et al. NeuroImage 31:968-980 (2006): the labels.
"""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
BRAIN_2009C = DATA / "mni152_2009c_brain.nii.gz"
"""T1-weighted brain without its skull."""
GREY_2009A, WHITE_2009A, BRAIN_2009A = (
    DATA / f"mni152_2009a_{kind}.nii.gz" for kind in ("grey", "white", "brain")
)
"""Probabilities from 0 to 255, and the mask."""
FREESURFER_LABELS = DATA / "cvs_avg35_labels.nii.gz"
"""Of FreeSurfer's average of 35 heads."""


def read_volume(path: Path) -> tuple[NDArray, NDArray[np.float64]]:
    """Return the voxels of one of these files (x, y, z) as they are stored, and its affine (4, 4)."""
    image = nib.nifti1.load(path)
    return np.squeeze(np.asanyarray(image.dataobj)), np.asarray(image.affine, dtype=np.float64)


def freesurfer_names() -> dict[int, str]:
    """Return FreeSurfer's name of each number of its labels."""
    with (DATA / "cvs_avg35_labels.csv").open(encoding="utf-8", newline="") as table:
        return {int(row["index"]): row["name"] for row in csv.DictReader(table)}
