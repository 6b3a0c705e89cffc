"""What is said of a conversion: series that lack slices, why no map can be made, and what else to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dicom.completeness import missing_by_stack
from qsmxt_app.convert.dicom.find import UNPACK, Found
from qsmxt_app.convert.dicom.review import USED_ROLES
from qsmxt_app.convert.dicom.series import Series
from qsmxt_app.convert.dicom.sorted_series import FILES_SUFFIX, MISSING, SortedSeries
from qsmxt_app.terminal import named

_ADVICE = {
    "archive": UNPACK,
    "NIfTI file": "Convert NIfTI files from a folder of their own",
    "damaged file": "Copy or export them again",
}
_FEW = 3
NO_MAP = "no susceptibility map: {0}"


def incomplete_series(ready: SortedSeries) -> Iterator[str]:
    """Say of each series that lacks slices what was left out of it."""
    for one in ready.series:
        told = ready.without.get(one.key, MISSING)
        if not one.incomplete or ready.keeps_incomplete or told.startswith("not "):
            continue
        if ready.types[one.key].role in USED_ROLES:
            yield (
                f"series {one.key} ({one.scan.description or 'without a name'}): {one.incomplete}. "
                f"{_what_was_left_out(one, ready)} left out; --keep-incomplete converts it with empty slices."
            )


def _what_was_left_out(one: Series, ready: SortedSeries) -> str:
    if one.key in ready.without:
        return "It was"
    times = {stack.echo_time for stack, gap in zip(one.stacks, missing_by_stack(one), strict=True) if gap}
    shown = ", ".join(f"{1000 * (time or 0):g}" for time in sorted(times, key=lambda time: time or 0))
    return f"The echo at {shown} ms was"


def why_no_maps(ready: SortedSeries) -> list[str]:
    """Say what is missing, if no acquisition has the phase of its echoes."""
    parts = {
        member.component
        for acquisition in ready.grouped.plan
        for member in acquisition.members
        if member.suffix in {"MEGRE", "T2starw"}
    }
    if parts & {"phase", "real"}:
        return []
    differences = [one for one in ready.series if ready.types[one.key].role == "phase-difference"]
    reasons = [
        f"series {one.key} ({one.scan.description}) is a phase difference, one image for two echoes: "
        "it is not the phase of each echo, so no susceptibility map can be made of it"
        for one in differences[:_FEW]
    ]
    if "magnitude" in parts:
        unread = "; ".join(_unread(ready))
        what = f"look into what was not read first ({unread})" if unread else "let the scanner save it too"
        reasons.append(f"gradient-echo magnitudes were found, but no phase of their echoes: {what}")
    reasons += [
        f"series {one.key} ({one.scan.description}) was left out: {ready.without[one.key]}"
        for one in ready.series
        if one.key in ready.without and ready.types[one.key].role == "gradient-echo"
    ][:_FEW]
    return reasons or ["no gradient echo with phase images is among the series"]


def _unread(ready: SortedSeries) -> dict[str, str]:
    """What may hold images and was not read: what to do with it, by its names."""
    files: dict[str, list[str]] = {}
    for one in ready.left_out:
        if one.unread:
            files.setdefault(one.unread, []).append(one.path.name)
    return {named(names, kind): _ADVICE[kind] for kind, names in files.items()}


def unread_notes(ready: SortedSeries) -> list[str]:
    """Say what may hold images and was not read, and what to do with it."""
    return [f"not read: {names}. {advice}" for names, advice in _unread(ready).items()]


def doubtful_headers(ready: SortedSeries) -> list[str]:
    """Say what headers of converted series lack or have wrong."""
    return [
        f"series {one.key} ({one.scan.description}): {doubt}"
        for one in ready.series
        for doubt in ready.doubts(one)
    ]


def conversion_notes(
    source: Path, found: Found, ready: SortedSeries, images: Sequence[ConvertedImage]
) -> list[str]:
    """Say how many files were converted, and what to do about the others.

    Parameters
    ----------
    source
        The folder.
    found, ready
        Its files, and its series.
    images
        What was made of them.
    """
    used = len(ready.used_files())
    total = len(found.headers) + len(found.left_out)
    table = f"{ready.review.stem}.tsv"
    notes = [
        f"{source}: {total} files: {used} converted, {total - used} left out; "
        f"{table} lists the result for each series, {ready.review.stem.name}{FILES_SUFFIX}.tsv for each file"
    ]
    notes += unread_notes(ready)
    notes += [
        f"series {one.key} ({one.scan.description}): not used: {ready.grouped.unpaired[one.key]}. "
        "Add the missing files and run the same command again."
        for one in ready.series
        if one.key in ready.grouped.unpaired
    ]
    notes += doubtful_headers(ready)
    if any(image.suffix in {"T1w", "UNIT1"} for image in images):
        notes.append("T1w images show faces: remove them before the dataset is shared")
    return notes
