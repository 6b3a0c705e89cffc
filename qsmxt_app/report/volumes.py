"""Reading the maps of one acquisition, as many volumes in memory at a time as there are threads."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numba import get_num_threads
from numpy.typing import NDArray

from qsmxt_app.maps import MAPS
from qsmxt_app.records.scan import ScanRecord
from qsmxt_app.report.embedding import EMBEDDED, Embedded, Shrinking, embed, plan_shrinking
from qsmxt_app.report.slices import Cut, SliceGrid, make_grid, plan_cuts, take, to_ras

Slices = Mapping[Cut, NDArray[np.float32]]

MANY_CUTS = {"axial": 8, "coronal": 4, "sagittal": 4}
FEW_CUTS = {"axial": 4, "coronal": 1, "sagittal": 1}

ON_MAP = (
    "mask",
    "mask_reliable",
    "magnitude",
    "chi",
    "chi_singlepass",
    "chi_echo_spread",
    "total_field",
    "local_field",
    "field_noise",
    "field_trust",
    *(view.output for step in MAPS.values() if step.shown for view in step.shown.views),
    "dseg",
)
"""What lies on the grid of the map; the first that can be read gives the grid."""
ONE_ECHO = re.compile(r"chi_echoes_\d+").fullmatch
"""Whether an output is the susceptibility of a single echo."""
ON_T1W = ("t1w_mask", "dseg_t1w", "t1w", "magnitude_in_t1w")
"""What lies on the grid of T1w."""
ON_COARSE = ("offset",)
"""What was saved on a coarser grid, for the report alone."""

_WITH_MANY_CUTS = ("chi", "chi_singlepass", "dseg")
_WITH_STATISTICS = ("chi", "magnitude", "t1w", "magnitude_in_t1w")


@dataclass(frozen=True)
class Volumes:
    """The slices of all maps that could be read, on one grid, and the ranges of whole volumes."""

    grid: SliceGrid | None
    slices: Mapping[str, Slices]
    statistics: Mapping[str, Mapping[str, float]]
    missing: Sequence[str]
    embedded: Mapping[str, Embedded]
    shrinking: Shrinking | None = None


def read_volumes(
    output_dir: Path, record: ScanRecord, keys: Sequence[str] | None = None, *, embed_voxels: int | None = 0
) -> Volumes:
    """Read what the report shows of one acquisition on one grid.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Names the files. Those that are missing, damaged or on another grid are listed in `missing`.
    keys
        Outputs on one grid; without, all on the grid of the map.
    embed_voxels
        Largest number of voxels of a volume in the page; 0 for none, None without a limit.
    """
    wanted = (*ON_MAP, *filter(ONE_ECHO, record.outputs)) if keys is None else tuple(keys)
    read: list[_Read] = []
    for key in wanted:
        first = load_volume(record.output(output_dir, key))
        if first is not None:
            volume, affine, oriented = first
            grid = replace(make_grid(volume, affine), oriented=oriented)
            shrinking = plan_shrinking(grid, embed_voxels) if embed_voxels != 0 else None
            reader = partial(_read, output_dir, record, grid, shrinking)
            del first, volume
            # memory is that of as many volumes as there are threads
            with ThreadPoolExecutor(get_num_threads()) as pool:
                read = list(pool.map(reader, wanted))
            break
    else:
        lost = [name for key in wanted if (name := record.outputs.get(key))]
        return Volumes(None, {}, {}, lost, {})
    return Volumes(
        grid,
        {one.key: one.slices for one in read if one.slices is not None},
        {one.key: one.statistics for one in read if one.statistics is not None},
        [one.missing for one in read if one.missing],
        {one.key: one.embedded for one in read if one.embedded is not None},
        shrinking,
    )


@dataclass(frozen=True)
class _Read:
    """What is kept of one map."""

    key: str
    missing: str = ""
    slices: Slices | None = None
    statistics: Mapping[str, float] | None = None
    embedded: Embedded | None = None


def _read(
    output_dir: Path, record: ScanRecord, grid: SliceGrid, shrinking: Shrinking | None, key: str
) -> _Read:
    name = record.outputs.get(key, "")
    loaded = load_volume(record.output(output_dir, key))
    if loaded is None:
        return _Read(key, name)
    volume, affine, _ = loaded
    if not grid.matches(affine, volume.shape):
        return _Read(key, f"{name} (not on the grid of the mask)")
    turned = to_ras(volume, affine)
    return _Read(
        key,
        slices={cut: take(turned, grid, cut) for cut in _cuts(key, grid)},
        statistics=_statistics(turned) if key in _WITH_STATISTICS else None,
        embedded=embed(key, turned, shrinking) if shrinking and key in EMBEDDED else None,
    )


def _cuts(key: str, grid: SliceGrid) -> dict[Cut, None]:
    """Choose the slices of a map; labels need those of all maps that they are drawn on."""
    counts = [MANY_CUTS] if key in _WITH_MANY_CUTS else []
    if key == "dseg" or not counts:
        counts.append(FEW_CUTS)
    return dict.fromkeys(cut for count in counts for cut in plan_cuts(grid, count))


def load_volume(path: Path | None) -> tuple[NDArray[np.float32], NDArray[np.float64], bool] | None:
    """Read a volume (the first of several), its affine, and whether it is oriented, or None if impossible."""
    if path is None:
        return None
    try:
        image: Any = nib.load(path)
        data = image.dataobj
        volume = np.asarray(data[..., 0] if len(image.shape) == 4 else data, dtype=np.float32)
        affine = np.asarray(image.affine, dtype=np.float64)
        oriented = bool(image.header["sform_code"] or image.header["qform_code"])
        to_ras(volume[:1, :1, :1], affine)
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error, AttributeError):
        return None
    return (volume, affine, oriented) if volume.ndim == 3 and volume.size else None


def _statistics(volume: NDArray[np.float32]) -> dict[str, float]:
    """Summarise the voxels that are not outside (zero) and are numbers."""
    values = volume[(volume != 0) & np.isfinite(volume)]
    if not values.size:
        return {}
    low, high, top = (float(value) for value in np.percentile(values, [1, 99, 99.8]))
    return {"low": low, "high": high, "top": top}
