"""What a raw dataset holds already: its acquisitions and what they were made from, and its tables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.entities import IMAGE_EXTENSIONS, FileName, parse_name
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.copying import digest_of_copy, digest_of_image
from qsmxt_app.convert.naming import (
    Bucket,
    NamedAcquisition,
    Protocol,
    bucket_of,
    group_key,
    image_bucket,
)
from qsmxt_app.errors import CannotCreateOutput, QsmxtError

UNKNOWN = "n/a"
DATATYPES = ("anat", "fmap")
_SHARED = ("acq", "rec", "run")

# As `atomic_file` calls them.
_UNFINISHED = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")

_Files = dict[Path, FileName]


def held_acquisitions(raw: Path, images: Sequence[ConvertedImage]) -> list[NamedAcquisition]:
    """List what a dataset holds of the subjects and sessions that images are of.

    ``scans.tsv`` says what an acquisition was made from. Where that matches none of the images' groups
    (files added by hand, an interrupted run, other rules of grouping), an acquisition with the same voxels as
    an image was made from that image's group.
    """
    found: list[NamedAcquisition] = []
    keys = {group_key(image.group) for image in images}
    for subject, session in sorted({(one.subject, one.session or "") for one in images}):
        folder = session_folder(raw, subject, session or None)
        rows = {row["filename"]: row for row in read_rows(scans_file(folder)) if "filename" in row}
        for (bucket, entities), files in _acquisitions(folder, subject, session or None).items():
            listed = [rows.get(path.relative_to(folder).as_posix(), {}) for path in files]
            key = next((row["source"] for row in listed if row.get("source", UNKNOWN) != UNKNOWN), None)
            protocol = next((row["protocol"] for row in listed if "protocol" in row), None)
            named = dict(entities)
            one = NamedAcquisition(bucket, key, _protocol(protocol, named), named)
            if key not in keys:
                one = replace(one, key=_source_by_content(one, files, images) or key)
            found.append(one)
    return found


def session_folder(raw: Path, subject: str, session: str | None) -> Path:
    """Folder of a person's session."""
    folder = raw / f"sub-{subject}"
    return folder if session is None else folder / f"ses-{session}"


def scans_file(folder: Path) -> Path:
    """Table of the scans of a session's folder."""
    names = [part for part in folder.parts[-2:] if part.startswith(("sub-", "ses-"))]
    return folder / f"{'_'.join(names)}_scans.tsv"


def protocol_text(protocol: Protocol) -> str:
    """Write a protocol as entities: ``acq-hires_rec-NORM``, or n/a."""
    parts = [f"{key}-{label}" for key, label in zip(("acq", "rec"), protocol, strict=True) if label]
    return "_".join(parts) or UNKNOWN


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table of the dataset; one that does not exist has no rows.

    Raises
    ------
    CannotCreateOutput
        If it cannot be read, because then it cannot be completed.
    """
    try:
        lines = read_small(path).splitlines() if os.path.lexists(path) else []
    except QsmxtError as error:
        raise CannotCreateOutput(f"{path}: cannot be read.", "Correct or remove it.") from error
    columns = lines[0].split("\t") if lines else []
    return [dict(zip(columns, line.split("\t"), strict=False)) for line in lines[1:] if line]


def merge_rows(
    path: Path,
    rows: Iterable[Mapping[str, str]],
    *,
    keep: Callable[[Mapping[str, str]], bool] = lambda row: True,
    replaced: Sequence[str] = (),
) -> None:
    """Complete a table of the dataset: new rows and columns are added, no cell that says something changes.

    Parameters
    ----------
    path
        The table, made where it does not exist.
    rows
        To be there, distinguished by their first column.
    keep
        Which of the rows that are there stay.
    replaced
        Columns whose cells do change.
    """
    before = read_rows(path)
    after = [dict(row) for row in before if keep(row)]
    for row in rows:
        key = next(iter(row))
        same = next((other for other in after if other.get(key) == row[key]), None)
        if same is None:
            after.append(dict(row))
        else:
            same |= {
                name: text
                for name, text in row.items()
                if name in replaced or same.get(name, UNKNOWN) == UNKNOWN
            }
    if after == before:
        return
    columns = list(dict.fromkeys(name for row in [*before, *after] for name in row))
    lines = ["\t".join(row.get(name, UNKNOWN) for name in columns) for row in after]
    write_text(path, "\n".join(["\t".join(columns), *lines]) + "\n")


def images_by_source(raw: Path) -> dict[str, list[Path]]:
    """Find what all ``scans.tsv`` say: the images that were made of each group, by `group_key`."""
    found: dict[str, list[Path]] = {}
    for path in _scans_files(raw):
        for row in read_rows(path):
            if row.get("source", UNKNOWN) != UNKNOWN and "filename" in row:
                found.setdefault(row["source"], []).append(path.parent / row["filename"])
    return found


def _scans_files(raw: Path) -> list[Path]:
    return sorted([*raw.glob("sub-*/*_scans.tsv"), *raw.glob("sub-*/ses-*/*_scans.tsv")])


def drop_missing_scans(raw: Path) -> None:
    """Take out of all ``scans.tsv`` the rows that a conversion wrote and whose image the user removed."""
    for path in _scans_files(raw):
        folder = path.parent
        merge_rows(
            path,
            (),
            keep=lambda row, folder=folder: "source" not in row or os.path.lexists(folder / row["filename"]),  # type: ignore[misc]
        )


def remove_unfinished(raw: Path) -> None:
    """Remove what a conversion that was killed left behind; only while no other one is running."""
    for datatype in DATATYPES:
        for pattern in (f"sub-*/{datatype}/.*.tmp", f"sub-*/ses-*/{datatype}/.*.tmp"):
            for path in raw.glob(pattern):
                if _UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def _acquisitions(
    folder: Path, subject: str, session: str | None
) -> dict[tuple[Bucket, tuple[tuple[str, str], ...]], _Files]:
    """Group the images of a session by what their names share within an acquisition."""
    found: dict[tuple[Bucket, tuple[tuple[str, str], ...]], _Files] = {}
    for datatype in DATATYPES:
        if not (folder / datatype).is_dir():
            continue
        for path in sorted((folder / datatype).iterdir()):
            name = parse_name(path.name)
            if name is None or name.extension not in IMAGE_EXTENSIONS:
                continue
            shared = tuple((key, name.entities[key]) for key in _SHARED if key in name.entities)
            bucket = bucket_of(subject, session, name.suffix, datatype)
            found.setdefault((bucket, shared), {})[path] = name
    return found


def _protocol(text: str | None, entities: Mapping[str, str]) -> Protocol:
    if text is None:
        return entities.get("acq"), entities.get("rec")
    labels = dict(part.split("-", 1) for part in text.split("_") if "-" in part)
    return labels.get("acq"), labels.get("rec")


def _source_by_content(one: NamedAcquisition, files: _Files, images: Sequence[ConvertedImage]) -> str | None:
    for image in images:
        if image_bucket(image) != one.bucket:
            continue
        for path, name in files.items():
            if _plays_the_part(name, image) and _same_content(path, image.path):
                return group_key(image.group)
    return None


def _plays_the_part(name: FileName, image: ConvertedImage) -> bool:
    echo = name.entities.get("echo")
    return (
        name.suffix == image.suffix
        and name.entities.get("part", "mag") == (image.part or "mag")
        and (None if echo is None else int(echo)) == image.echo
    )


def _same_content(path: Path, source: Path) -> bool:
    try:
        return digest_of_image(path) == digest_of_copy(source)
    except QsmxtError:
        return False
