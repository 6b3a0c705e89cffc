"""The same image twice: copied files, images stored in two forms, studies sent again under new UIDs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pydicom

from qsmxt_app.convert.dicom.find import LeftOut
from qsmxt_app.convert.dicom.header import Header
from qsmxt_app.convert.dicom.reading import open_dicom
from qsmxt_app.convert.dicom.series import Series, Stack


def without_duplicates(members: Sequence[Header]) -> tuple[list[Header], list[LeftOut]]:
    """Keep each image once: first by its UID, then by place, time and pixels under different UIDs.

    Images of one UID that differ in place, time or pixels are different images: some exports give all slices
    or echoes one UID.
    """
    first: defaultdict[str, list[Header]] = defaultdict(list)
    duplicates = []
    for header in members:
        same_uid = first[header.sop_uid]
        original = next((one for one in same_uid if _same_image(one, header)), None)
        if original is None:
            same_uid.append(header)
        else:
            duplicates.append(LeftOut(Path(header.path), f"the same image as {original.path}"))
    unique = [header for several in first.values() for header in several]
    places: defaultdict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in unique:
        if len(header.slices) == 1:
            places[header.slices[0]].append(header)
    again: set[str] = set()
    for same_place in places.values():
        seen: dict[str, Header] = {}
        for header in same_place if len(same_place) > 1 else ():
            original = seen.setdefault(pixel_digest(Path(header.path)), header)
            if original is not header:
                again.add(header.path)
                duplicates.append(
                    LeftOut(Path(header.path), f"the same image as {original.path} under another UID")
                )
    return [header for header in unique if header.path not in again], duplicates


def _same_image(one: Header, two: Header) -> bool:
    return one.slices == two.slices and pixel_digest(Path(one.path)) == pixel_digest(Path(two.path))


def without_second_copies(series: Sequence[Series]) -> tuple[tuple[Series, ...], tuple[LeftOut, ...]]:
    """Leave out series that hold the same images again: stored in another form, or sent under another UID."""
    kept: list[Series] = []
    left_out: list[LeftOut] = []
    for one in sorted(series, key=lambda s: (bool(s.incomplete), s.enhanced)):
        original = next((other for other in kept if _same_images(one, other)), None)
        if original is None:
            kept.append(one)
            continue
        reason = f"the same images as series {original.key} ({original.files[0]})"
        left_out += [LeftOut(path, reason) for path in one.files]
    order = {id(s): index for index, s in enumerate(series)}
    return tuple(sorted(kept, key=lambda s: order[id(s)])), tuple(left_out)


def pixel_digest(path: Path) -> str:
    """Digest of a file's pixel data, to tell whether two files hold the same image."""
    dataset = pydicom.dcmread(open_dicom(path), force=True, specific_tags=["PixelData"])
    return hashlib.sha256(dataset.get("PixelData") or b"").hexdigest()


def _same_images(one: Series, two: Series) -> bool:
    same_person = all(
        getattr(one.scan, name) == getattr(two.scan, name)
        for name in ("patient_id", "patient_name", "birth_date", "study_date")
    )
    if not same_person or len(one.stacks) != len(two.stacks) or one.number != two.number:
        return False
    if one.uid == two.uid and one.scan.study_uid == two.scan.study_uid:
        return one.enhanced != two.enhanced and _same_stacks(one, two)
    same_time = one.scan.series_time == two.scan.series_time and one.acquired == two.acquired
    return (
        same_time
        and one.enhanced == two.enhanced
        and len(one.files) == len(two.files)
        and _same_stacks(one, two)
        and all(pixel_digest(one.stacks[0].files[i]) == pixel_digest(two.stacks[0].files[i]) for i in (0, -1))
    )


def _same_stacks(one: Series, two: Series) -> bool:
    def described(stack: Stack) -> tuple[object, ...]:
        return stack.component, round(stack.echo_time or 0, 5), stack.coil, stack.n_slices, stack.repetition

    return sorted(map(described, one.stacks), key=str) == sorted(map(described, two.stacks), key=str)
