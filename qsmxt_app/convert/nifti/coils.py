"""Uncombined coils in NIfTI files of several volumes: combined before anything else is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bids.acquisition import Acquisition, Echo
from qsmxt_app.bids.acquisition_images import load_acquisition
from qsmxt_app.bids.headers import b0_direction, parse_header, read_header
from qsmxt_app.bids.volumes import coils_of, find_coil_axis, is_uncombined
from qsmxt_app.convert.nifti.table_cells import Described
from qsmxt_app.errors import UnusableData


@dataclass(frozen=True, eq=False)
class CombinedEcho:
    """Files of one echo's combined magnitude and phase, and where they come from.

    Attributes
    ----------
    magnitude, phase
        Images; phase in rad.
    echo_time
        s.
    sources
        Rows of the files of which they were made: magnitude (or real part) and phase (or imaginary part).
    rule
        How they were made, in words.
    """

    magnitude: Path
    phase: Path
    echo_time: float
    sources: tuple[Described, Described]
    rule: str


def coil_axis(one: Described) -> int | None:
    """Return the axis behind x, y and z along which a file has uncombined coils, or None.

    Raises
    ------
    ValueError
        If nothing tells echoes from coils.
    """
    file = one.row.file
    entities = {"rec": one.reconstruction or "", "acq": one.acquisition or ""}
    times = len(one.echo_times) if len(one.echo_times) > 1 else None
    return find_coil_axis(_volumes_shape(one), times, uncombined=is_uncombined(file.metadata, entities))


def combine_coils(files: Sequence[Described], axis: int, stem: Path) -> list[CombinedEcho]:
    """Combine the coils of one scan and write an image a part and echo.

    Parameters
    ----------
    files
        Of the scan, of which each holds all coils.
    axis
        From `coil_axis`.
    stem
        Start of the paths of the images.

    Raises
    ------
    UnusableData
        If files are missing, or cannot be combined.
    """
    pairs = _pairs(files)
    echoes = [
        Echo(first.row.file.path, second.row.file.path, time, number)
        for first, second in pairs
        for number, time in enumerate(first.echo_times, 1)
    ]
    header = read_header(files[0].row.file.path)
    units = pairs[0][1].row.file.metadata.get("Units")
    x, y, z = header.shape[:3]
    images = load_acquisition(
        Acquisition(
            subject=files[0].subject,
            session=files[0].session,
            entities={},
            suffix=files[0].suffix,
            echoes=tuple(echoes),
            coils=coils_of(echoes, _volumes_shape(files[0]), axis),
            field_strength=files[0].field_strength or 0,
            affine=header.affine,
            shape=(x, y, z),
            voxel_size=header.voxel_size,
            b0_direction=b0_direction(header.scanner_affine),
            phase_units=units if isinstance(units, str) else None,
            complex_parts=pairs[0][1].part == "imag",
        )
    )
    of_echo = [pair for pair in pairs for _ in pair[0].echo_times]
    return [
        CombinedEcho(
            _write(images.magnitude[..., index], echo.magnitude, Path(f"{stem}-{index}-mag.nii")),
            _write(images.phase[..., index], echo.magnitude, Path(f"{stem}-{index}-phase.nii")),
            echo.echo_time,
            of_echo[index],
            images.phase_scaling,
        )
        for index, echo in enumerate(echoes)
    ]


def _volumes_shape(one: Described) -> tuple[int, ...]:
    header = one.row.file.header
    return header.shape[3:] if header else ()


def _pairs(files: Sequence[Described]) -> list[tuple[Described, Described]]:
    """Magnitude and phase (or real and imaginary part) files, by echo time."""
    parts: dict[str, dict[tuple[float, ...], Described]] = {}
    for one in files:
        parts.setdefault(one.part or "mag", {})[one.echo_times] = one
    first, second = ("real", "imag") if "imag" in parts else ("mag", "phase")
    if not (times := parts.get(first, {}).keys()) or times != parts.get(second, {}).keys():
        raise UnusableData(
            f"{files[0].name}: uncombined coils need both parts of every echo, with the same echo times.",
            "Add the files that are missing, or correct 'part' and 'echo_time'.",
        )
    return [(parts[first][time], parts[second][time]) for time in sorted(times)]


def _write(voxels: FloatArray, source: Path, path: Path) -> Path:
    """Write an image with the geometry of a source, and what that stands for."""
    header = parse_header(source)
    image = nib.nifti1.Nifti1Image(voxels, header.get_best_affine(), header, dtype=np.float32)
    image.header.set_slope_inter(1, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path
