"""Echoes that are given in Python as arrays, images or files, and what is known of their scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.bids.headers import b0_direction, read_header
from qsmxt_app.errors import UnusableData, WrongUsage
from qsmxt_app.qsm.phase import scale_phase
from qsmxt_app.tools.images import read_echoes, read_image, sidecar_of

Images = Any
"""An array, an image of nibabel, a path, or a sequence of one of these, one an echo."""


@dataclass(frozen=True, eq=False)
class ScanImages:
    """All echoes of a scan.

    Attributes
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Any unit, and rad.
    mask, r2 : ndarray (x, y, z) or None
        What was given: where to reconstruct, and R2 in 1/s.
    echo_times
        s, ascending.
    field_strength
        T.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.
    affine
        (4, 4), voxel indices to mm.
    """

    magnitude: FloatArray
    phase: FloatArray
    mask: BoolArray | None
    echo_times: tuple[float, ...]
    field_strength: float
    voxel_size: tuple[float, float, float]
    b0_direction: tuple[float, float, float]
    affine: NDArray[np.float64]
    r2: FloatArray | None = None


def read_scan(
    magnitude: Images,
    phase: Images,
    *,
    mask: Images = None,
    r2: Images = None,
    echo_times: Sequence[float] | None = None,
    field_strength: float | None = None,
    voxel_size: Sequence[float] | None = None,
    direction: Sequence[float] | None = None,
) -> ScanImages:
    """Read what was given; what was not is taken from headers and from the JSON files beside images.

    Parameters
    ----------
    magnitude, phase
        All echoes: (x, y, z, echo) or one volume an echo. Phase in rad, or as a scanner stores it.
    mask
        Of the voxels to use.
    r2
        R2 on the same grid, 1/s.
    echo_times
        s.
    field_strength
        T.
    voxel_size
        mm.
    direction
        Of the main field in voxel axes.

    Raises
    ------
    WrongUsage, NoInput, UnusableData
        If something is not known, does not fit together, or cannot be read.
    """
    echoes, files, affine, scanner = _echoes(magnitude, "magnitude")
    stored, *_ = _echoes(phase, "phase")
    if echoes.shape != stored.shape:
        raise WrongUsage(f"the magnitude has shape {echoes.shape}, the phase {stored.shape}.")
    if affine is None:
        if voxel_size is None:
            raise WrongUsage("the voxel size is not known.", "Give voxel_size in mm.")
        affine = scanner = np.diag([*map(float, voxel_size), 1.0])
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) if voxel_size is None else np.asarray(voxel_size)
    towards = np.asarray(b0_direction(scanner) if direction is None else direction, float)
    times, strength = _echo_times(echo_times, files, echoes.shape[3]), _field_strength(field_strength, files)
    region = None if mask is None else read_mask(mask, echoes.shape[:3])
    try:
        radians = scale_phase(stored).phase
    except ValueError as error:
        raise UnusableData(f"{error}.") from error
    return ScanImages(
        magnitude=echoes,
        phase=radians,
        mask=region,
        echo_times=times,
        field_strength=strength,
        voxel_size=tuple(edges.astype(float).tolist()),
        b0_direction=tuple((towards / np.linalg.norm(towards)).tolist()),
        affine=affine,
        r2=None if r2 is None else _on_grid(r2, echoes.shape[:3], "R2"),
    )


def _echoes(given: Images, name: str) -> tuple[FloatArray, list[Path], Any, Any]:
    """Return (x, y, z, echo), the files if there are any, and the affines of image and scanner."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise WrongUsage(f"the {name} has no echo.")
    if all(isinstance(one, str | Path) for one in several):
        paths = [Path(one) for one in several]
        header = read_header(paths[0])
        return read_echoes(paths), paths, header.affine, header.scanner_affine
    affine = getattr(several[0], "affine", None)
    volumes = [np.asarray(getattr(one, "dataobj", one), dtype=np.float32) for one in several]
    images = volumes[0] if len(volumes) == 1 else np.stack(volumes, axis=-1)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4:
        raise WrongUsage(
            f"the {name} has shape {images.shape}.", "Give (x, y, z, echo), or a volume an echo."
        )
    return images, [], affine, affine


def read_mask(given: Images, shape: tuple[int, ...]) -> BoolArray:
    """Return where an array, an image of nibabel or a file is above 0.

    Parameters
    ----------
    given
        One of these, (x, y, z).
    shape
        That it must have.

    Raises
    ------
    UnusableData, NoInput
        If it has another shape, or cannot be read.
    """
    return np.asarray(_on_grid(given, shape, "a mask") > 0)


def _on_grid(given: Images, shape: tuple[int, ...], what: str) -> FloatArray:
    """Return the voxels of an array, an image of nibabel or a file."""
    if isinstance(given, str | Path):
        voxels = read_image(Path(given))
    else:
        voxels = np.asarray(getattr(given, "dataobj", given), np.float32)
    if voxels.shape != shape:
        raise UnusableData(f"{what} has shape {voxels.shape}, the echoes {shape}.")
    return voxels


def _echo_times(given: Sequence[float] | None, files: list[Path], count: int) -> tuple[float, ...]:
    times: Any = given
    if times is None:
        times = [sidecar_of(file).get("EchoTime") for file in files]
        if len(files) == 1 and isinstance(times[0], list):
            times = times[0]
    if len(times) != count or not all(isinstance(time, int | float) and 0 < time < 1 for time in times):
        raise WrongUsage(
            f"{count} echoes, but the echo times are {times}.", "Give echo_times in s, one each."
        )
    return tuple(float(time) for time in times)


def _field_strength(given: float | None, files: list[Path]) -> float:
    value = sidecar_of(files[0]).get("MagneticFieldStrength") if given is None and files else given
    if not isinstance(value, int | float) or not 0 < value < 30:
        raise WrongUsage(f"the field strength is {value}.", "Give field_strength in T.")
    return float(value)
