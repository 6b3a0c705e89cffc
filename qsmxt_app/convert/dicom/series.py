"""Files into series, and series into the 3D images (stacks of slices) that they hold."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.find import LeftOut
from qsmxt_app.convert.dicom.header import Header, Kind, Scan, Slice, Vector, acquired_at
from qsmxt_app.convert.dicom.reading import open_dicom

GAP = 1.5
"""Slices further apart than so many times the usual distance have another missing between them."""
GRID_TOLERANCE = 0.1
"""Voxels by which the corners of first and last slice may differ for two images to be on one grid."""
_GE_FIELD_MAPS = ("B0MAP", "B0RF")

_Member = tuple[Header, Slice]


@dataclass(frozen=True)
class Stack:
    """One 3D image: the slices of one echo, component, coil channel, geometry and repetition.

    Attributes
    ----------
    kind
        What its slices have in common.
    component
        What its numbers are; may differ from ``kind.component`` where the series told more.
    coil
        Name of the channel where the series holds several uncombined ones; None otherwise.
    repetition
        From 0, where the series repeats the same slices.
    files
        Sorted along the slices' normal; each once.
    shared
        Whether the files hold slices of other stacks too (enhanced files).
    offsets
        Positions along the normal, mm, rising. A mosaic has one.
    corner
        mm, of the first slice.
    n_slices
        Slices; those of a mosaic counted.
    acquired
        When its first slice was acquired.
    """

    kind: Kind
    component: Component
    coil: str | None
    repetition: int
    files: tuple[Path, ...]
    shared: bool
    offsets: Vector
    corner: Vector
    n_slices: int
    acquired: datetime | None

    @property
    def echo_time(self) -> float | None:
        """Echo time in s."""
        return self.kind.echo_time

    @property
    def echo_number(self) -> int | None:
        """Number of the echo as the header gives it."""
        return self.kind.echo_number

    @property
    def rows(self) -> int:
        """Voxels along a column."""
        return self.kind.rows

    @property
    def columns(self) -> int:
        """Voxels along a row."""
        return self.kind.columns


@dataclass(frozen=True)
class Series:
    """One DICOM series in one storage form.

    Attributes
    ----------
    key
        Short name that stays the same whenever the series is read: its number and a digest of its UID.
    header
        That of its first file.
    files
        All files, sorted, without duplicates.
    stacks
        Its 3D images: by component, echo, channel and repetition.
    incomplete
        In words, which slices are missing; empty where none are.
    """

    key: str
    header: Header
    files: tuple[Path, ...]
    stacks: tuple[Stack, ...]
    incomplete: str = ""

    @property
    def scan(self) -> Scan:
        """What its files have in common."""
        return self.header.scan

    @property
    def uid(self) -> str:
        """Series instance UID."""
        return self.scan.series_uid

    @property
    def number(self) -> int:
        """Series number, 0 where it has none."""
        return self.scan.series_number or 0

    @property
    def enhanced(self) -> bool:
        """Whether its files hold many frames each."""
        return self.scan.enhanced

    @property
    def acquired(self) -> datetime | None:
        """When its first image was acquired."""
        return min((s.acquired for s in self.stacks if s.acquired), default=None)

    @property
    def components(self) -> tuple[Component, ...]:
        """Components of its stacks, each once."""
        return tuple(dict.fromkeys(stack.component for stack in self.stacks))

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Different echo times in s, rising."""
        return tuple(sorted({stack.echo_time for stack in self.stacks if stack.echo_time}))


def group_series(headers: Iterable[Header]) -> tuple[tuple[Series, ...], tuple[LeftOut, ...]]:
    """Group files into series, without duplicates.

    Returns
    -------
    series
        Sorted by study, number and UID.
    left_out
        Files that hold an image again that another file holds.
    """
    groups: defaultdict[tuple[str, ...], list[Header]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for header in headers:
        scan = header.scan
        form = "enhanced" if scan.enhanced else "classic"
        groups[scan.patient_id, scan.study_uid, scan.series_uid, form].append(header)
    series = []
    for identity, members in groups.items():
        unique, duplicates = _without_duplicates(members)
        left_out += duplicates
        series.append(_series(identity, unique))
    series.sort(key=lambda s: (s.scan.patient_id, s.scan.study_date, s.scan.study_uid, s.number, s.key))
    kept, again = _without_second_copies(series)
    return kept, tuple(left_out) + again


def same_grid(one: Stack, two: Stack) -> bool:
    """Whether two images have the same matrix and lie at the same place."""
    same_matrix = (one.rows, one.columns, one.n_slices) == (two.rows, two.columns, two.n_slices)
    if not same_matrix or not _same_plane(one.kind, two.kind):
        return False
    if not (one.corner and two.corner):
        return one.corner == two.corner
    voxel = min((*one.kind.pixel_spacing, 1.0))
    corners = np.subtract(one.corner, two.corner), np.subtract(one.offsets[-1:], two.offsets[-1:])
    return all(np.abs(distance).max(initial=0.0) < GRID_TOLERANCE * voxel for distance in corners)


def _same_plane(one: Kind, two: Kind) -> bool:
    pairs = ((one.orientation, two.orientation, 1e-3), (one.pixel_spacing, two.pixel_spacing, 1e-3))
    return all(len(a) == len(b) and np.allclose(a, b, rtol=0, atol=tolerance) for a, b, tolerance in pairs)


def _without_duplicates(members: Sequence[Header]) -> tuple[list[Header], list[LeftOut]]:
    """Keep each image once: first by its UID, then by place, time and pixels under different UIDs."""
    first: dict[str, Header] = {}
    duplicates = []
    for header in members:
        original = first.setdefault(header.sop_uid, header)
        if original is not header:
            duplicates.append(LeftOut(header.path, f"the same image as {original.path}"))
    unique = list(first.values())
    places: defaultdict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in unique:
        if len(header.slices) == 1:
            places[header.slices[0]].append(header)
    again: set[str] = set()
    for same_place in places.values():
        seen: dict[str, Header] = {}
        for header in same_place if len(same_place) > 1 else ():
            original = seen.setdefault(pixel_digest(header.path), header)
            if original is not header:
                again.add(header.sop_uid)
                duplicates.append(
                    LeftOut(header.path, f"the same image as {original.path} under another UID")
                )
    return [header for header in unique if header.sop_uid not in again], duplicates


def pixel_digest(path: Path) -> str:
    """Digest of a file's pixel data, to tell whether two files hold the same image."""
    dataset = pydicom.dcmread(open_dicom(path), force=True, specific_tags=["PixelData"])
    return hashlib.sha256(dataset.get("PixelData") or b"").hexdigest()


def _series(identity: tuple[str, ...], members: Sequence[Header]) -> Series:
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:8]
    first = min(members, key=lambda h: (h.slices[0].instance or 0, str(h.path)))
    series = Series(
        key=f"{first.scan.series_number or 0}-{digest}",
        header=first,
        files=tuple(sorted(header.path for header in members)),
        stacks=tuple(_stacks(first.scan, members)),
    )
    return replace(series, incomplete=_incomplete(series))


def _stacks(scan: Scan, members: Sequence[Header]) -> list[Stack]:
    slices = [(header, one) for header in members for one in header.slices]
    groups: defaultdict[tuple[Kind, Component], list[_Member]] = defaultdict(list)
    field_maps = _ge_field_map_instances(scan, slices)
    for header, one in slices:
        component = one.kind.component
        if field_maps is not None:
            component = "b0map" if one.instance in field_maps else "magnitude"
        groups[one.kind, component].append((header, one))
    groups = _merge_rounding(groups)
    coils: defaultdict[Component, set[str]] = defaultdict(set)
    for kind, component in groups:
        coils[component].add(kind.coil)
    stacks = []
    for (kind, component), group in groups.items():
        coil = kind.coil if len(coils[component]) > 1 else None
        for repetition, volume in enumerate(_repetitions(scan, group)):
            stacks.append(_stack(scan, kind, component, coil, repetition, volume))
    stacks.sort(key=lambda s: (s.component, s.echo_time or 0, s.echo_number or 0, s.coil or "", s.repetition))
    return stacks


def _merge_rounding(
    groups: defaultdict[tuple[Kind, Component], list[_Member]],
) -> defaultdict[tuple[Kind, Component], list[_Member]]:
    """Join groups whose kinds differ by rounding of the orientation or by comments alone."""
    merged: defaultdict[tuple[Kind, Component], list[_Member]] = defaultdict(list)
    names: dict[tuple[object, ...], tuple[Kind, Component]] = {}
    for (kind, component), members in groups.items():
        rounded = replace(
            kind,
            comments="",
            orientation=tuple(round(c, 3) + 0.0 for c in kind.orientation),
            pixel_spacing=tuple(round(c, 3) for c in kind.pixel_spacing),
        )
        merged[names.setdefault((rounded, component), (kind, component))] += members
    return merged


def _ge_field_map_instances(scan: Scan, slices: Sequence[_Member]) -> set[int] | None:
    """Instances of the map in a field map of GE: its header does not tell them, but the map comes first."""
    technique = scan.technique.upper()
    if not (scan.manufacturer.upper().startswith("GE") and any(name in technique for name in _GE_FIELD_MAPS)):
        return None
    instances = sorted(one.instance for _, one in slices if one.instance is not None)
    if len(instances) != len(slices) or len(set(instances)) % 2:
        return None
    return set(instances[: len(instances) // 2])


def _offset(one: Slice) -> float:
    """Distance along the slices' normal, mm."""
    if len(one.kind.orientation) != 6 or len(one.position) != 3:
        return float(one.instance or 0)
    return float(np.dot(np.cross(one.kind.orientation[:3], one.kind.orientation[3:]), one.position))


def _repetitions(scan: Scan, members: Sequence[_Member]) -> list[list[_Member]]:
    """Split slices that lie at the same place into repetitions, in the order of acquisition."""
    ordered = sorted(members, key=lambda m: (_order(m[1]), str(m[0].path)))
    if scan.mosaic:
        return [[member] for member in ordered]
    times: Counter[float] = Counter()
    volumes: list[list[_Member]] = []
    for member in ordered:
        place = round(_offset(member[1]), 2)
        if times[place] == len(volumes):
            volumes.append([])
        volumes[times[place]].append(member)
        times[place] += 1
    return [sorted(volume, key=lambda m: _offset(m[1])) for volume in volumes]


def _order(one: Slice) -> tuple[int, int, str, int]:
    return one.temporal or 0, one.acquisition or 0, one.acquired, one.instance or 0


def _stack(
    scan: Scan, kind: Kind, component: Component, coil: str | None, repetition: int, members: list[_Member]
) -> Stack:
    files = tuple(dict.fromkeys(header.path for header, _ in members))
    acquired = [when for when in (acquired_at(one.acquired) for _, one in members) if when]
    return Stack(
        kind=kind,
        component=component,
        coil=coil,
        repetition=repetition,
        files=files,
        shared=any(len(header.slices) > len(members) for header, _ in members),
        offsets=tuple(round(_offset(one), 3) for _, one in members),
        corner=members[0][1].position,
        n_slices=(scan.expected_slices or 1) if scan.mosaic else len(members),
        acquired=min(acquired, default=None),
    )


def _incomplete(series: Series) -> str:
    """Say which slices are missing, if any."""
    scan = series.scan
    if scan.mosaic:
        return ""
    reasons = []
    for stack in series.stacks:
        gaps = _gaps(stack, scan)
        peers = [s.n_slices for s in series.stacks if _same_plane(s.kind, stack.kind)]
        if gaps:
            reasons.append(gaps)
        elif scan.expected_slices and stack.n_slices < scan.expected_slices and len(_planes(series)) == 1:
            reasons.append(f"{stack.n_slices} of {scan.expected_slices} slices of an image are there")
        elif stack.n_slices < max(peers):
            reasons.append(f"{stack.n_slices} slices of one image, {max(peers)} of another")
    return "; ".join(dict.fromkeys(reasons))


def _planes(series: Series) -> set[Vector]:
    return {tuple(round(c, 2) for c in stack.kind.orientation) for stack in series.stacks}


def _gaps(stack: Stack, scan: Scan) -> str:
    steps = np.diff(stack.offsets)
    if steps.size == 0:
        return ""
    usual = float(np.median(steps))
    missing = int(sum(round(step / usual) - 1 for step in steps if step > GAP * usual)) if usual > 0 else 0
    if missing:
        return f"{missing} {'slice is' if missing == 1 else 'slices are'} missing between others"
    declared = scan.spacing_between_slices or 0.0
    multiple = usual / declared if declared >= 0.9 * (scan.slice_thickness or np.inf) else 1.0
    if multiple > GAP and abs(multiple - round(multiple)) < 0.02 * multiple:
        return f"slices lie {usual:.2f} mm apart where the header says {declared:.2f} mm"
    return ""


def _without_second_copies(series: Sequence[Series]) -> tuple[tuple[Series, ...], tuple[LeftOut, ...]]:
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


def _same_images(one: Series, two: Series) -> bool:
    same_person = one.scan.patient_id == two.scan.patient_id and one.scan.study_date == two.scan.study_date
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
