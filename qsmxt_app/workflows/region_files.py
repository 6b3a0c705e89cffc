"""Labels, values of maps in them, and transforms between spaces on disk, with tables and sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File
from numpy.typing import NDArray

from qsmxt_app.bids.atomic import atomic_file, write_json, write_text
from qsmxt_app.bids.derivatives import save_image, sidecar_path
from qsmxt_app.maps.measured import MEASURED
from qsmxt_app.segment.colours import freesurfer_table, hex_colour, itksnap_table
from qsmxt_app.segment.regional_values import (
    QuantitativeMap,
    column_descriptions,
    regional_values,
    values_table,
)
from qsmxt_app.segment.regions import Region, regions_table
from qsmxt_app.workflows.node_base import defined, load

MAP_TRAITS: dict[str, Any] = {name: File(exists=True) for name in MEASURED}
"""Inputs of a step that measures: a file for every map."""
TABLE_COLUMNS = {
    "hemisphere": {"Description": "Side of the body", "Levels": {"L": "left", "R": "right"}},
    "kind": {"Description": "Kind of tissue or structure"},
    "color": {"Description": "Colour of the label, as red, green and blue"},
}


def save_labels(
    labels: NDArray[np.integer],
    affine: NDArray,
    path: Path,
    sidecar: Mapping[str, Any],
    regions: Iterable[Region],
) -> Path:
    """Write labels, their table, one sidecar for both, and their colours for FreeSurfer and ITK-SNAP.

    Parameters
    ----------
    labels : ndarray (x, y, z)
    affine : ndarray (4, 4)
    path
        Of the image.
    sidecar
        What is told of the labels; the columns of the table are added.
    regions
        What the labels stand for.

    Returns
    -------
    pathlib.Path
        The table.
    """
    coloured = [replace(region, color=hex_colour(region)) for region in regions]
    stem = path.name.split(".")[0]
    beside = path.with_name(f"{stem}.tsv")
    write_text(beside, regions_table(coloured))
    write_text(path.with_name(f"{stem}_LUT.txt"), freesurfer_table(coloured))
    write_text(path.with_name(f"{stem}_itksnap.txt"), itksnap_table(coloured))
    save_image(labels, affine, path, {**sidecar, **TABLE_COLUMNS})
    return beside


def quantitative_maps(given: Any, mask: NDArray[np.bool_], reference: str) -> list[QuantitativeMap]:
    """Load the maps to measure that a step was given.

    Parameters
    ----------
    given
        Inputs of the step, with those of `MAP_TRAITS`.
    mask : ndarray (x, y, z), bool
        Where they have values.
    reference
        What chi is relative to.
    """
    return [
        QuantitativeMap(
            name,
            load(getattr(given, name)),
            mask,
            output.units or "",
            reference if output.relative else "",
        )
        for name, output in MEASURED.items()
        if defined(getattr(given, name))
    ]


def save_values(
    labels: NDArray[np.integer],
    affine: NDArray,
    path: Path,
    regions: Sequence[Region],
    maps: Sequence[QuantitativeMap],
    *,
    atlas: str,
    sources: Sequence[str],
    doubts: Mapping[int, str] | None = None,
) -> None:
    """Measure maps in labels, and write the table with a sidecar that tells its columns.

    Parameters
    ----------
    labels : ndarray (x, y, z)
    affine : ndarray (4, 4)
    path
        Of the table.
    regions, maps
        What is measured.
    atlas
        Where the labels come from.
    sources
        BIDS URIs.
    doubts
        Why a label may be misplaced, by its number.
    """
    volume = float(abs(np.linalg.det(affine[:3, :3])))
    table = regional_values(labels, regions, maps, voxel_volume=volume, atlas=atlas, doubts=doubts)
    columns = column_descriptions({name: one.quantity or one.title for name, one in MEASURED.items()})
    write_json(sidecar_path(path), {"Sources": list(sources), **columns})
    write_text(path, values_table(table))


def save_transforms(files: Mapping[str, tuple[Any, str, str]], folder: Path, stem: str) -> dict[str, Path]:
    """Write the transforms that there are; a name says from where to where one brings images.

    Parameters
    ----------
    files
        By a key of the caller's: the file, and the names of the spaces from and to which it leads.
    folder
        Where they go.
    stem
        With which their names begin.

    Returns
    -------
    dict
        What was written, by key.
    """
    written = {}
    for name, (file, origin, target) in files.items():
        if defined(file) is None:
            continue
        path = folder / f"{stem}_from-{origin}_to-{target}_mode-image_xfm{Path(file).suffix}"
        with atomic_file(path) as stream:
            stream.write(Path(file).read_bytes())
        written[name] = path
    return written
