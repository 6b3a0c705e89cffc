"""Naming and writing BIDS derivatives: folders, images and sidecars."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np

from qsmxt_app.bids.atomic import atomic_file, make_folder, write_json, write_text
from qsmxt_app.bids.entities import build_name, derivative_entities
from qsmxt_app.bids.nifti_file import gzipped, nifti_parts
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import CannotCreateOutput, QsmxtError

BIDS_VERSION = "1.10.0"
ACKNOWLEDGEMENT = (
    "Please cite qsmxt and the methods that logs/CITATION.md of this dataset names, with its references."
)
RAW_LINK = "raw"
CHIMAP_LINK = "chimaps"
"""Name of the dataset whose maps were taken instead of a reconstruction."""
PIPELINE = "qsmxt"

WRITTEN_FOLDERS = ("logs", ".locks", "tpl-*", "sub-*")
"""What is written below the output folder, where a link would lead to files of another user."""

# What BIDS has no rule for (yet): regional statistics, reports, susceptibility-weighted images.
_BIDSIGNORE = (
    "*.html",
    "figures",
    "logs",
    "work",
    "*_stats.*",
    "*_statmap.*",
    "*_clusters.*",
    "*_quality.json",
    "*_xfm.*",
    "*_LUT.txt",
    "*_itksnap.txt",
    "*_swi.*",
    "*_minIP.*",
    "group_stats*.csv",
    ".*",
)
_README = """# Quantitative susceptibility maps

Made by qsmxt. Every image has a JSON sidecar with its sources, units and parameters; `sub-*.html` are the
reports, `logs/` holds the configuration and log of each run and the methods text with its citations.
"""


def initialise_derivative(
    out: Path,
    raw: Path,
    version: str,
    *,
    container: Mapping[str, str] | None = None,
    chimaps: Path | None = None,
) -> None:
    """Make a folder a BIDS derivative of a raw dataset; harmless where it already is one.

    Parameters
    ----------
    out
        The output folder.
    raw
        The raw dataset.
    version
        Version of this software.
    container
        ``Type``, ``Tag`` and ``URI`` of the container that runs, where known.
    chimaps
        Dataset whose maps are taken instead of a reconstruction.

    Raises
    ------
    CannotCreateOutput
        If the folder is a raw dataset or another pipeline's derivative, lies in a place of the raw dataset
        where it would clutter it, cannot be created or written, or has a link in place of one of its folders.
    """
    check_output(out, raw)
    make_folder(out)
    description = _description(out, raw, version, container)
    links = description["DatasetLinks"]
    if chimaps:
        links[CHIMAP_LINK] = _link(chimaps, out)
    if CHIMAP_LINK in links:  # of this run, or of an earlier one
        description["SourceDatasets"].append({"URL": links[CHIMAP_LINK]})
    write_json(out / "dataset_description.json", description)
    _add_lines(out / ".bidsignore", _BIDSIGNORE)
    if not any(out.glob("README*")):
        write_text(out / "README.md", _README)


def check_output(out: Path, raw: Path) -> None:
    """Refuse an output folder that a run would refuse; nothing is written.

    Parameters
    ----------
    out, raw
        As for `initialise_derivative`.

    Raises
    ------
    CannotCreateOutput
        As `initialise_derivative`.
    """
    _refuse_to_clobber(out, raw)
    _refuse_links(out)
    existing = next(folder for folder in (out, *out.parents) if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        what = "cannot be written to" if existing == out else f"cannot be created in {existing}"
        raise CannotCreateOutput(f"{out}: {what}.", "Choose another folder or change its permissions.")


def _refuse_links(out: Path) -> None:
    """Refuse links to folders below the output folder; the output folder itself may be one."""
    for top in (path for pattern in WRITTEN_FOLDERS for path in out.glob(pattern)):
        for folder in chain([top], (Path(above, name) for above, names, _ in os.walk(top) for name in names)):
            if folder.is_symlink():
                raise CannotCreateOutput(
                    f"{folder} is a link.", "Replace it by a folder: results are written into it."
                )


def derivative_path(
    out: Path,
    entities: Mapping[str, str],
    suffix: str,
    *,
    desc: str | None = None,
    datatype: str = "anat",
    extension: str = ".nii.gz",
) -> Path:
    """Path of a derivative, its entities in the order of BIDS.

    An entity that BIDS does not allow for the suffix (``rec`` of a fieldmap) goes into ``acq``, so that two
    scans never share a name.

    Parameters
    ----------
    out
        The derivative's folder.
    entities
        Short keys and labels, ``sub`` among them: `Acquisition.output_entities`, and ``space`` and the like.
    suffix
        ``Chimap``, ``mask``, ...
    desc
        Label of ``desc-``.
    datatype
        ``anat``, ``fmap`` or ``figures``.
    extension
        With its dot.

    Raises
    ------
    WrongUsage
        For an unknown entity, or a label with characters that BIDS does not allow.

    Examples
    --------
    >>> derivative_path(Path("out"), {"sub": "01", "ses": "A", "run": "1"}, "mask", desc="qsm").as_posix()
    'out/sub-01/ses-A/anat/sub-01_ses-A_run-1_desc-qsm_mask.nii.gz'
    """
    named = dict(entities) if desc is None else {**entities, "desc": desc}
    name = build_name(_allowed_only(named, suffix, datatype), suffix, extension)
    folder = out / f"sub-{entities['sub']}"
    if datatype == "figures":
        return folder / datatype / name
    if "ses" in entities:
        folder /= f"ses-{entities['ses']}"
    return folder / datatype / name


def save_image(
    array: np.ndarray,
    affine: np.ndarray,
    path: Path,
    sidecar: Mapping[str, Any] | None = None,
    *,
    oriented: bool = True,
) -> Path:
    """Write an image and its sidecar, each of them whole or not at all.

    Parameters
    ----------
    array
        (x, y, z) or (x, y, z, n). Booleans become uint8, other integers int16 (int32 where they must),
        floats float32.
    affine
        (4, 4), voxel indices to scanner coordinates in mm.
    path
        Ends in ``.nii.gz`` or ``.nii``. The same array gives the same bytes.
    sidecar
        Content of the JSON file beside the image; written first, so that an image that exists is complete.
    oriented
        Whether the affine leads to scanner coordinates (code 1), or is not known to (code 0).

    Returns
    -------
    Path
        The image's path.

    Raises
    ------
    CannotCreateOutput, InputOutputFailed
        As `qsmxt_app.bids.atomic.atomic_file`.
    """
    image = nib.nifti1.Nifti1Image(_storable(array), affine)
    image.header.set_xyzt_units("mm", "sec" if array.ndim == 4 else "unknown")
    image.set_sform(affine, code=int(oriented))
    image.set_qform(affine, code=int(oriented))
    if sidecar is not None:
        write_json(sidecar_path(path), sidecar)
    parts = nifti_parts(image)
    with atomic_file(path) as stream:
        for part in gzipped(*parts) if path.suffix == ".gz" else parts:
            stream.write(part)
    return path


def sidecar_path(image: Path) -> Path:
    """Path of the JSON file that describes an image."""
    return image.with_name(image.name.split(".")[0] + ".json")


def image_sidecar(
    sources: Iterable[str],
    *,
    units: str | None = None,
    skull_stripped: bool | None = None,
    algorithm: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of a derivative's sidecar.

    Parameters
    ----------
    sources
        BIDS URIs from `bids_uri`.
    units
        Of the voxels: ``ppm``, ``Hz``, ``1/s``, ``s``, ``arbitrary``; None for masks and labels.
    skull_stripped
        Whether only the brain is left; required for images, None for masks and labels.
    algorithm
        Becomes ``EstimationAlgorithm``.
    parameters
        Everything else that made the image, in CamelCase.
    """
    known = {"Units": units, "SkullStripped": skull_stripped, "EstimationAlgorithm": algorithm}
    given = {key: value for key, value in known.items() if value is not None}
    return {"Sources": sorted(set(sources)), **given, **(parameters or {})}


def bids_uri(path: Path, root: Path, dataset: str = RAW_LINK) -> str:
    """URI of a file in a dataset that `DatasetLinks` names; an empty name is the derivative itself.

    Examples
    --------
    >>> bids_uri(Path("/data/sub-01/anat/sub-01_T1w.nii"), Path("/data"))
    'bids:raw:sub-01/anat/sub-01_T1w.nii'
    """
    # Not resolve(): images of git-annex are links out of the dataset.
    inside = Path(os.path.abspath(path)).relative_to(os.path.abspath(root))  # noqa: PTH100
    return f"bids:{dataset}:{inside.as_posix()}"


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype == bool:
        return array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        small = np.iinfo(np.int16)
        fits = array.size == 0 or (array.min() >= small.min and array.max() <= small.max)
        return array if array.dtype == np.uint8 else array.astype(np.int16 if fits else np.int32)
    return array.astype(np.float32, copy=False)


def _allowed_only(entities: Mapping[str, str], suffix: str, datatype: str) -> dict[str, str]:
    allowed = derivative_entities(suffix, datatype)
    if allowed is None:
        return dict(entities)
    kept = {key: label for key, label in entities.items() if key in allowed}
    folded = [f"{key}{label}" for key, label in entities.items() if key not in allowed]
    if folded:
        kept["acq"] = "+".join([*filter(None, [kept.get("acq")]), *folded])
    return kept


def _refuse_to_clobber(out: Path, raw: Path) -> None:
    target, source = out.resolve(), raw.resolve()
    other = "Choose another output folder, for example a new one beside the dataset."
    if target == source:
        raise CannotCreateOutput(f"{out}: the output folder is the raw dataset.", other)
    if source in target.parents and "derivatives" not in target.relative_to(source).parts[:1]:
        raise CannotCreateOutput(
            f"{out}: lies inside the raw dataset, which is only read.",
            f"Use {raw / 'derivatives' / PIPELINE}.",
        )
    if out.exists() and not out.is_dir():
        raise CannotCreateOutput(f"{out}: the output folder is a file.", other)
    existing = _existing_description(out)
    if existing is None:
        if out.is_dir() and any(out.glob("sub-*/")):
            raise CannotCreateOutput(f"{out}: holds participants but no dataset_description.json.", other)
        return
    if existing.get("DatasetType", "raw") == "raw":
        raise CannotCreateOutput(f"{out}: the output folder is a raw dataset.", other)
    makers = [maker.get("Name") for maker in _makers(existing)]
    if PIPELINE not in makers:
        name = ", ".join(str(maker) for maker in makers) or "another program"
        raise CannotCreateOutput(f"{out}: the output folder is a derivative of {name}.", other)


def _makers(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Programs that a description names, whatever else it holds."""
    listed = description.get("GeneratedBy")
    return [maker for maker in listed if isinstance(maker, dict)] if isinstance(listed, list) else []


def _existing_description(out: Path) -> dict[str, Any] | None:
    path = out / "dataset_description.json"
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(read_small(path))
    except QsmxtError as error:
        raise CannotCreateOutput(error.message, error.hint) from error
    except (ValueError, RecursionError) as error:
        raise CannotCreateOutput(f"{path}: not valid JSON.", "Correct or remove it.") from error
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _description(out: Path, raw: Path, version: str, container: Mapping[str, str] | None) -> dict[str, Any]:
    """Keep what an existing description says, and bring what this run knows up to date.

    The licence is that of the raw dataset, where it names one: maps made of it are not ours to license.
    """
    generated: dict[str, Any] = {"Name": PIPELINE, "Version": version}
    if container:
        generated["Container"] = dict(container)
    existing = _existing_description(out) or {
        "Name": "qsmxt: quantitative susceptibility maps",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "HowToAcknowledge": ACKNOWLEDGEMENT,
    }
    others = [maker for maker in _makers(existing) if maker.get("Name") != PIPELINE]
    link = _link(raw, out)
    licence = {key: value for key, value in (_existing_description(raw) or {}).items() if key == "License"}
    return (
        licence
        | existing
        | {
            "GeneratedBy": [generated, *others],
            "SourceDatasets": [{"URL": link} | _identity(raw)],
            "DatasetLinks": existing.get("DatasetLinks", {}) | {RAW_LINK: link},
        }
    )


def _link(raw: Path, out: Path) -> str:
    """Relative where one dataset lies inside the other, and so moves with it; a file URI otherwise."""
    source, target = raw.resolve(), out.resolve()
    if source in target.parents or target in source.parents:
        return Path(os.path.relpath(source, target)).as_posix()
    return source.as_uri()


def _identity(raw: Path) -> dict[str, str]:
    """DOI and version that the raw dataset's description may give."""
    described = _existing_description(raw) or {}
    found = {"DOI": described.get("DatasetDOI"), "Version": described.get("DatasetVersion")}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _add_lines(path: Path, lines: Iterable[str]) -> None:
    present = read_small(path).splitlines() if path.exists() else []
    missing = [line for line in lines if line not in present]
    if missing:
        write_text(path, "\n".join([*present, *missing]) + "\n")
