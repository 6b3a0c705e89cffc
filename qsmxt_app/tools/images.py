"""NIfTI files of single steps: read, checked against each other, written with a sidecar."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bids.headers import read_header
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import CannotCreateOutput, QsmxtError, UnusableData

IMAGE_SUFFIXES = (".nii.gz", ".nii")


def read_image(path: Path, *, echoes: bool = False) -> FloatArray:
    """Read a volume, or with `echoes` also a 4-D image, as float32.

    Raises
    ------
    NoInput, UnusableData
        If there is no such file, or it is not such an image.
    """
    read_header(path)  # refuses anything other than an image of a volume
    try:
        image = cast(nib.Nifti1Image, nib.load(path))
        values = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise UnusableData(f"{path}: is not a readable image ({error}).") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3 and not (echoes and values.ndim == 4):
        raise UnusableData(
            f"{path}: has shape {values.shape}, not three dimensions.", "Give one image per echo."
        )
    return values


def read_echoes(paths: Sequence[Path]) -> FloatArray:
    """Read one image per echo, or a single 4-D image, as (x, y, z, echo).

    Raises
    ------
    NoInput, UnusableData
        As `read_image`, or if shapes differ.
    """
    volumes = [read_image(path, echoes=len(paths) == 1) for path in paths]
    for volume, path in zip(volumes, paths, strict=True):
        if volume.shape != volumes[0].shape:
            raise UnusableData(f"{path}: has shape {volume.shape}, but {paths[0]} has {volumes[0].shape}.")
    return volumes[0] if volumes[0].ndim == 4 else np.stack(volumes, axis=-1)


def sidecar_of(path: Path) -> dict[str, Any]:
    """Return what the JSON file beside an image says; nothing where there is none."""
    try:
        content = json.loads(read_small(with_suffix(path, "", ".json")))
    except (QsmxtError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def with_suffix(path: Path, suffix: str, ending: str = ".nii.gz") -> Path:
    """Return the path with a suffix to the image's name."""
    stem = path.name
    for known in IMAGE_SUFFIXES:
        stem = stem.removesuffix(known)
    return path.with_name(f"{stem}{suffix}{ending}")


def write_image(
    values: Any, affine: NDArray[np.float64], path: Path, sidecar: Mapping[str, Any] | None = None
) -> None:
    """Write an image, masks as bytes and all else as float32, and a sidecar.

    Raises
    ------
    CannotCreateOutput
        If a file cannot be written.
    """
    array = np.asarray(values)
    stored = array.astype(np.uint8 if array.dtype == bool else np.float32)
    try:
        nib.save(nib.Nifti1Image(stored, affine), path)
        if sidecar is not None:
            text = json.dumps(sidecar, indent=2, default=str)
            with_suffix(path, "", ".json").write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise CannotCreateOutput(f"{path}: cannot be written ({error.strerror or error}).") from error
