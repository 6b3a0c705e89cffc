"""Write small synthetic DICOM series in the header styles of scanners, with known voxels and geometry.

A `DicomSeries` describes one series: who, when, which scanner style, and its volumes (echo, component, coil)
with the *stored* integers. `write_series` writes it: one file a slice (classic), or one file for all
(``philips-enhanced``, ``siemens-xa``: there, as on the scanner, one file an echo and component).

    magnitude, phase = echoes()                            # (x, y, z, echo); phase in rad
    for series in gradient_echo("siemens", magnitude, phase, (0.004, 0.008)):
        paths = write_series(folder, series)
    image = on_written_grid(nib.load(converted), series)   # (x, y, z), axes as written

`gradient_echo` encodes like the vendor: Siemens 0..4095 with slope 2, Philips millirad with slope 1.53, GE
millirad or real and imaginary, of opposite sign, with the sign of every second slice changed.
"""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from dicom_datasets import classic_dataset, enhanced_dataset, mosaic_dataset
from dicom_series import (
    CLASSIC,
    PHILIPS_FLOAT_SLOPE,
    PHILIPS_MAGNITUDE,
    VENDORS,
    Component,
    DicomSeries,
    Split,
    Vendor,
    Volume,
    echoes,
    encode,
    field_map_in_hz,
    gradient_echo,
    localiser,
    oblique_affine,
    phase_difference,
    straight_affine,
    t1w,
    volume,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset

__all__ = [
    "CLASSIC", "PHILIPS_FLOAT_SLOPE", "PHILIPS_MAGNITUDE", "VENDORS", "Component", "DicomSeries",
    "Split", "Vendor", "Volume", "duplicate", "echoes", "encode", "field_map_in_hz", "gradient_echo",
    "localiser", "oblique_affine", "on_written_grid", "phase_difference", "straight_affine", "t1w",
    "truncate", "volume", "write_all", "write_series",
]  # fmt: skip


def write_series(
    folder: Path,
    series: DicomSeries,
    *,
    name: Callable[[int], str] | None = None,
    skip: Sequence[int] = (),
    compress: bool = False,
    one_file: bool = False,
    mosaic: bool = False,
) -> list[Path]:
    """Write all files of a series.

    Parameters
    ----------
    name
        File name from the running number; default ``<series>_<number>.dcm``.
    skip
        Running numbers of files to leave out (missing slices; see `slices_of`).
    compress
        Write each file gzipped, with ``.gz`` at the end of its name.
    one_file
        Write everything into one enhanced file, whatever the vendor does.
    mosaic
        Write one file a volume, its slices side by side (Siemens).

    Returns
    -------
    list of Path
        Classic: volume by volume, slice by slice. Enhanced: one file (Siemens: one a volume).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if one_file or series.vendor == "philips-enhanced":
        datasets = [enhanced_dataset(series, series.volumes, 1)]
    elif series.vendor == "siemens-xa":
        datasets = [enhanced_dataset(series, (v,), i) for i, v in enumerate(series.volumes, 1)]
    elif mosaic:
        datasets = [mosaic_dataset(series, v, i) for i, v in enumerate(series.volumes, 1)]
    else:
        n_slices = series.volumes[0].stored.shape[2]
        datasets = [
            classic_dataset(series, v, k, 1 + i * n_slices + k)
            for i, v in enumerate(series.volumes)
            for k in range(n_slices)
        ]
    paths = []
    for index, dataset in enumerate(datasets):
        if index in skip:
            continue
        text = name(index) if name else f"{series.number:04d}_{index + 1:04d}.dcm"
        paths.append(_save(dataset, folder / (text + ".gz" * compress), compress))
    return paths


def write_all(folder: Path, series: Sequence[DicomSeries], **options: Any) -> list[Path]:
    """Write several series into one folder."""
    return [path for one in series for path in write_series(folder, one, **options)]


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file after a share of its pixel data: the header stays readable."""
    content = path.read_bytes()
    start = content.rfind(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[: start + 12 + int(share * (len(content) - start - 12))])


def duplicate(path: Path, copy: Path) -> Path:
    """Copy a file to another name: the same image twice."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    return copy


def on_written_grid(image: nib.Nifti1Image, series: DicomSeries) -> NDArray[np.float64]:
    """Voxels of a converted image along the axes in which they were written: (x, y, z[, n]).

    Raises
    ------
    AssertionError
        If the image is not the same grid in space, to 0.01 voxel.
    """
    to_image = np.linalg.inv(image.affine) @ series.affine
    turn = np.rint(to_image[:3, :3]).astype(int)
    assert np.abs(to_image[:3, :3] - turn).max() < 0.01, f"axes differ: {to_image}"
    shape = np.array(series.volumes[0].stored.shape)
    grid = np.indices(shape).reshape(3, -1)
    index = to_image[:3, :3] @ grid + to_image[:3, 3:]
    nearest = np.rint(index).astype(int)
    assert np.abs(index - nearest).max() < 0.01 * max(shape), "the grid is shifted"
    size = np.array(image.shape[:3])[:, None]
    assert ((nearest >= 0) & (nearest < size)).all(), f"the image covers another region: {image.shape}"
    values = np.asarray(image.dataobj, dtype=np.float64)[tuple(nearest)]
    return values.reshape(*shape, *image.shape[3:])


def _save(dataset: Dataset, path: Path, compress: bool) -> Path:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    content = buffer.getvalue()
    path.write_bytes(gzip.compress(content, mtime=0) if compress else content)
    return path
