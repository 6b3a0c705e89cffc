"""Reading the maps of one acquisition, one volume in memory at a time."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from qsmxt_app.report.findings import MapFacts
from qsmxt_app.report.record import Record, output_path, text
from qsmxt_app.report.slices import Cut, Grid, make_grid, plan_cuts, take, to_ras

Slices = Mapping[Cut, NDArray[np.float32]]

NORMAL_QUARTILES = 1.349
"""Interquartile range of a standard normal distribution."""

MANY_CUTS = {"axial": 8, "coronal": 4, "sagittal": 4}
FEW_CUTS = {"axial": 4, "coronal": 1, "sagittal": 1}

_SHOWN = (
    "mask",
    "mask_reliable",
    "magnitude",
    "chi",
    "chi_singlepass",
    "total_field",
    "local_field",
    "field_noise",
    "field_trust",
    "r2star",
    "chi_noise",
    "swi",
    "mip",
)
_WITH_MANY_CUTS = ("chi", "chi_singlepass")
_WITH_STATISTICS = ("chi", "magnitude")
_SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


@dataclass(frozen=True)
class Volumes:
    """The slices of all maps that could be read, on one grid, and what whole volumes show."""

    grid: Grid | None
    slices: Mapping[str, Slices]
    statistics: Mapping[str, Mapping[str, float]]
    facts: MapFacts


def read_volumes(output_dir: Path, record: Record) -> Volumes:
    """Read what the report shows of one acquisition.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Names the files. Those that are missing, damaged or on another grid are listed in the facts.
    """
    grid: Grid | None = None
    slices: dict[str, Slices] = {}
    statistics: dict[str, Mapping[str, float]] = {}
    facts: dict[str, Any] = {}
    missing: list[str] = []
    for key in _SHOWN:
        name = text(record.outputs.get(key))
        loaded = _load(output_path(output_dir, record, key))
        if loaded is None:
            missing += [name] if name else []
            continue
        volume, affine = loaded
        grid = grid or make_grid(volume, affine)
        if not grid.matches(affine, volume.shape):
            missing.append(f"{name} (not on the grid of the mask)")
            continue
        turned = to_ras(volume, affine)
        cuts = plan_cuts(grid, MANY_CUTS if key in _WITH_MANY_CUTS else FEW_CUTS)
        slices[key] = {cut: take(turned, grid, cut) for cut in cuts}
        if key in _WITH_STATISTICS:
            statistics[key] = _statistics(turned)
        facts |= _facts(key, turned, statistics.get(key, {}))
    return Volumes(grid, slices, statistics, MapFacts(**facts, missing=tuple(missing)))


def _facts(key: str, volume: NDArray[np.float32], statistics: Mapping[str, float]) -> dict[str, Any]:
    """Gather what findings need from a whole volume."""
    if key == "mask":
        return {"mask_voxels": int(np.count_nonzero(volume)), "edge_fraction": _edge_fractions(volume)}
    if key == "chi":
        not_finite = int(np.count_nonzero(~np.isfinite(volume)))
        return {"not_finite": not_finite, "chi_spread": statistics.get("spread")}
    return {}


def _load(path: Path | None) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """Read a volume as 32-bit floats (the first of several), or None if that is not possible."""
    if path is None:
        return None
    try:
        image: Any = nib.load(path)
        data = image.dataobj
        volume = np.asarray(data[..., 0] if len(image.shape) == 4 else data, dtype=np.float32)
        affine = np.asarray(image.affine, dtype=np.float64)
        to_ras(volume[:1, :1, :1], affine)
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error, AttributeError):
        return None
    return (volume, affine) if volume.ndim == 3 and volume.size else None


def _edge_fractions(mask: NDArray[np.float32]) -> dict[str, float]:
    """Share of each face of the volume that the mask touches.

    A neck leaves through the bottom of most images, so the bottom counts only where the top is cut as well.
    """
    inside = mask != 0
    shares: dict[str, float] = {}
    for axis, names in enumerate(_SIDES):
        for name, index in zip(names, (0, -1), strict=True):
            shares[name] = float(np.take(inside, index, axis=axis).mean())
    if not shares["top"]:
        del shares["bottom"]
    return shares


def _statistics(volume: NDArray[np.float32]) -> dict[str, float]:
    """Summarise the voxels that are not outside (zero) and are numbers."""
    values = volume[(volume != 0) & np.isfinite(volume)]
    if not values.size:
        return {}
    low, lower, upper, high, top = (float(value) for value in np.percentile(values, [1, 25, 75, 99, 99.8]))
    return {"low": low, "high": high, "top": top, "spread": (upper - lower) / NORMAL_QUARTILES}
