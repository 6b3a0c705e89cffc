"""Writing converted images into a raw BIDS dataset: each file whole or not at all, and none overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import make_folder, plain, write_json, write_text
from qsmxt_app.bids.derivatives import BIDS_VERSION, sidecar_path
from qsmxt_app.bids.entities import build_name
from qsmxt_app.bids.sidecars import read_json_object
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.copying import copy_image, digest_of_copy, digest_of_image
from qsmxt_app.convert.inventory import (
    UNKNOWN,
    drop_missing_scans,
    held_acquisitions,
    images_by_source,
    merge_rows,
    protocol_text,
    remove_unfinished,
    scans_file,
    session_folder,
)
from qsmxt_app.convert.naming import group_key, name_images, protocol_of
from qsmxt_app.convert.privacy import public_metadata
from qsmxt_app.errors import CannotCreateOutput, NoInput, UnusableData

PHASE_UNITS = frozenset({"rad", "arbitrary"})
# What a new version of a converter changes without a change of the data.
_VOLATILE = frozenset({"ConversionSoftware", "ConversionSoftwareVersion"})
_README = """# Raw images, converted by qsmxt

`*_scans.tsv` name the source of every image by a digest; `participants.tsv` lists the participants.
Names, birth dates and addresses are left out of all sidecars and headers. T1-weighted images show faces:
remove these before the dataset is shared.
"""
_SCANS = {
    "filename": {"Description": "image, relative to the folder of this table"},
    "acq_time": {"Description": "when the acquisition began"},
    "source": {"Description": "digest of the series that the image was made from; it keeps the image's name"},
    "protocol": {"Description": "labels of the protocol, whether the name of the file has them or not"},
}


@dataclass(frozen=True)
class Written:
    """What became of the images of a conversion.

    Attributes
    ----------
    targets
        Path of each image in the dataset, in the order of the images; None for one that is not there.
    files
        Images that were written now.
    unchanged
        Images that were there already.
    refused
        One line for each image that was not written, or whose sidecar was not, with the reason.
    notes
        What the user should know of images that have another name than they would get now.
    """

    targets: tuple[Path | None, ...]
    files: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    refused: tuple[str, ...]
    notes: tuple[str, ...] = ()


def write_dataset(images: Sequence[ConvertedImage], raw: Path, n_threads: int = 1) -> Written:
    """Add images to a raw BIDS dataset, which is made where it does not exist.

    What is there with the same content is left alone, and what is there with other content is kept. A run
    that was interrupted is completed by the next.

    Parameters
    ----------
    images
        From one conversion.
    raw
        The dataset's folder.
    n_threads
        Images of a scan that are compressed at the same time.

    Returns
    -------
    Written
        What became of each image.

    Raises
    ------
    CannotCreateOutput, InputOutputFailed
        If the folder is not a raw dataset, or cannot be written.
    """
    prepare_dataset(raw)
    remove_unfinished(raw)
    entities = name_images(images, held_acquisitions(raw, images))
    targets = [_path(raw, image, named) for image, named in zip(images, entities, strict=True)]
    refused = _duplicates(images, targets)
    new: dict[Path, bool] = {}
    with ThreadPoolExecutor(n_threads) as pool:
        for acquisition in _by_acquisition(images, targets):
            wanted = [(image, target) for image, target in acquisition if target not in refused]
            if line := _renumbered(wanted):
                refused |= dict.fromkeys((target for _, target in wanted), line)
                continue
            results = list(pool.map(_try_to_write, wanted))
            for (_, target), result in zip(wanted, results, strict=True):
                if isinstance(result, str):
                    refused[target] = result
                else:
                    new[target] = result
            _record(raw, [(image, target) for image, target in wanted if target in new])
    drop_missing_scans(raw)
    return Written(
        tuple(target if target in new or os.path.lexists(target) else None for target in targets),
        tuple(target for target, is_new in new.items() if is_new),
        tuple(target for target, is_new in new.items() if not is_new),
        tuple(dict.fromkeys(refused.values())),
        (*_called_otherwise(images, entities, targets), *_left_behind(raw, images, targets)),
    )


def prepare_dataset(raw: Path) -> None:
    """Make a folder a raw dataset without participants, or complete what describes one.

    Raises
    ------
    CannotCreateOutput
        If the folder holds something else.
    """
    make_folder(raw)
    description = raw / "dataset_description.json"
    other = "Choose another folder with --raw-dir."
    if description.exists():
        try:
            kind = read_json_object(description).get("DatasetType", "raw")
        except (UnusableData, NoInput) as error:
            raise CannotCreateOutput(error.message, error.hint) from error
        if kind != "raw":
            raise CannotCreateOutput(f"{raw}: a BIDS dataset of type {kind!r}, not raw.", other)
    elif any(not path.name.startswith(".") for path in raw.iterdir()):
        raise CannotCreateOutput(f"{raw}: holds files, but no dataset_description.json.", other)
    else:
        write_json(description, _description())
    for name, text in (("README.md", _README), (".bidsignore", ".*\n")):
        if not any(raw.glob(f"{name.removesuffix('.md')}*")):
            write_text(raw / name, text)
    if not (raw / "scans.json").exists():
        write_json(raw / "scans.json", _SCANS)
    if not (raw / "participants.json").exists():
        write_json(raw / "participants.json", {"participant_id": {"Description": "label of a person"}})


def _description() -> dict[str, Any]:
    return {
        "Name": "Images converted by qsmxt",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "qsmxt", "Version": __version__}],
    }


def _path(raw: Path, image: ConvertedImage, entities: Mapping[str, str]) -> Path:
    folder = session_folder(raw, image.subject, image.session) / image.datatype
    return folder / build_name(entities, image.suffix, ".nii.gz")


def _duplicates(images: Sequence[ConvertedImage], targets: Sequence[Path]) -> dict[Path, str]:
    """Refuse images that would get one name: which of them is meant cannot be known."""
    origins: dict[Path, list[str]] = {}
    for image, target in zip(images, targets, strict=True):
        origins.setdefault(target, []).append(image.origin)
    return {
        target: f"{', '.join(several)}: would all become {target.name}; none was written."
        for target, several in origins.items()
        if len(several) > 1
    }


def _by_acquisition(
    images: Sequence[ConvertedImage], targets: Sequence[Path]
) -> Iterator[list[tuple[ConvertedImage, Path]]]:
    acquisitions: dict[tuple[str, str, str], list[tuple[ConvertedImage, Path]]] = {}
    for image, target in zip(images, targets, strict=True):
        key = image.subject, image.session or "", image.group
        acquisitions.setdefault(key, []).append((image, target))
    for key in sorted(acquisitions):
        yield acquisitions[key]


def _called_otherwise(
    images: Sequence[ConvertedImage], entities: Sequence[Mapping[str, str]], targets: Sequence[Path]
) -> list[str]:
    """Say where a scan keeps its name although a person gave it another run by now."""
    first = {
        image.group: f"{target}: keeps its name, although the table says run {image.run}. "
        "Remove all images of the scan to have them written again."
        for image, named, target in zip(images, entities, targets, strict=True)
        if image.run is not None and named.get("run") != str(image.run)
    }
    return list(first.values())


def _left_behind(raw: Path, images: Sequence[ConvertedImage], targets: Sequence[Path]) -> list[str]:
    """Name what an earlier conversion made of the same scans, for another person or as another kind."""
    known = images_by_source(raw)
    names: dict[str, set[Path]] = {}
    for image, target in zip(images, targets, strict=True):
        names.setdefault(group_key(image.group), set()).add(target)
    lines = []
    for key, wanted in names.items():
        others = [path for path in known.get(key, []) if path not in wanted]
        if others:
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            lines.append(
                f"{others[0]}{more}: made earlier from the scan that is now {min(wanted).name}. "
                "Remove it if it is no longer needed."
            )
    return lines


def _renumbered(acquisition: Sequence[tuple[ConvertedImage, Path]]) -> str:
    """Say that echoes have other numbers than when the scan was first converted, if they have."""
    held = [(image, target) for image, target in acquisition if os.path.lexists(target)]
    if not held or len(held) == len(acquisition):
        return ""
    try:
        digests = {digest_of_copy(image.path) for image, _ in acquisition}
        moved = [
            target
            for image, target in held
            if digest_of_image(target) != digest_of_copy(image.path) and digest_of_image(target) in digests
        ]
    except (UnusableData, NoInput):
        return ""
    if not moved:
        return ""
    return (
        f"{moved[0]}: holds another echo than {held[0][0].origin} gives now: files of the scan arrived after "
        f"it was converted, and nothing was added. Remove its {len(held)} images and their sidecars to have "
        "the scan written again as a whole."
    )


def _try_to_write(one: tuple[ConvertedImage, Path]) -> bool | str:
    """Return whether an image is new, or why it was not written."""
    try:
        return _write_image(*one)
    except (UnusableData, NoInput) as error:
        return str(error)


def _write_image(image: ConvertedImage, target: Path) -> bool:
    """Write an image and its sidecar where they are not there; return whether the image is new.

    Raises
    ------
    UnusableData
        If one of them is there with other content.
    """
    exists = os.path.lexists(target)
    if exists and digest_of_image(target) != digest_of_copy(image.path):
        raise UnusableData(
            f"{target}: exists with content that differs from what {image.origin} gives; kept.",
            "Remove it to have it written again.",
        )
    sidecar = plain(_public_sidecar(image))
    path = sidecar_path(target)
    if os.path.lexists(path):
        _compare_sidecar(path, sidecar, image.origin)
    else:
        write_json(path, sidecar)
    if not exists:
        copy_image(image.path, target)
    return not exists


def _public_sidecar(image: ConvertedImage) -> dict[str, Any]:
    sidecar = public_metadata(image.sidecar)
    if image.part == "phase" and sidecar.get("Units") not in PHASE_UNITS:
        sidecar["Units"] = "arbitrary"
    if image.suffix == "fieldmap":
        sidecar.setdefault("Units", "Hz")
    return sidecar


def _compare_sidecar(path: Path, sidecar: Mapping[str, Any], origin: str) -> None:
    """Refuse a sidecar that says otherwise; what users added to the existing one is ignored."""
    existing = read_json_object(path)
    other = [key for key in sidecar if key not in _VOLATILE and existing.get(key) != sidecar[key]]
    if other:
        shown = ", ".join(f"{key} {existing.get(key)!r:.40}, now {sidecar[key]!r:.40}" for key in other[:3])
        raise UnusableData(
            f"{path}: differs from {origin} ({shown}); kept.", "Remove it to have it written again."
        )


def _record(raw: Path, written: Sequence[tuple[ConvertedImage, Path]]) -> None:
    """Note images of one acquisition in the tables."""
    if not written:
        return
    first = written[0][0]
    folder = session_folder(raw, first.subject, first.session)
    rows = [
        {
            "filename": target.relative_to(folder).as_posix(),
            "acq_time": image.acquired.replace(tzinfo=None).isoformat() if image.acquired else UNKNOWN,
            "source": group_key(image.group),
            "protocol": protocol_text(protocol_of(image)),
        }
        for image, target in written
    ]
    merge_rows(scans_file(folder), rows, replaced=("source",))
    merge_rows(raw / "participants.tsv", [{"participant_id": f"sub-{first.subject}"}])
