"""Files into series, and the slices of a series into 3D images."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from qsmxt_app.convert.dicom.completeness import missing_slices
from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.duplicates import without_duplicates, without_second_copies
from qsmxt_app.convert.dicom.find import LeftOut
from qsmxt_app.convert.dicom.header import Header, ImageKind, ScanParameters, Slice, Vector, acquired_at
from qsmxt_app.convert.dicom.series import Series, Stack
from qsmxt_app.convert.dicom.vendors import vendor_of

_Member = tuple[Header, Slice]


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
        unique, duplicates = without_duplicates(members)
        left_out += duplicates
        series.append(_series(identity, unique))
    series.sort(key=lambda s: (s.scan.patient_id, s.scan.study_date, s.scan.study_uid, s.number, s.key))
    kept, again = without_second_copies(series)
    return kept, tuple(left_out) + again


def _series(identity: tuple[str, ...], members: Sequence[Header]) -> Series:
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:8]
    first = min(members, key=lambda h: (h.slices[0].instance or 0, h.path))
    series = Series(
        key=f"{first.scan.series_number or 0}-{digest}",
        header=first,
        files=tuple(sorted(Path(header.path) for header in members)),
        stacks=tuple(_stacks(first.scan, members)),
    )
    return replace(series, incomplete=missing_slices(series))


def _stacks(scan: ScanParameters, members: Sequence[Header]) -> list[Stack]:
    slices = [(header, one) for header in members for one in header.slices]
    groups: defaultdict[tuple[ImageKind, Component], list[_Member]] = defaultdict(list)
    field_maps = _field_map_instances(scan, slices)
    for header, one in slices:
        component = one.kind.component
        if field_maps:
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
    groups: defaultdict[tuple[ImageKind, Component], list[_Member]],
) -> defaultdict[tuple[ImageKind, Component], list[_Member]]:
    """Join groups whose kinds differ by rounding of the orientation or by comments alone."""
    merged: defaultdict[tuple[ImageKind, Component], list[_Member]] = defaultdict(list)
    names: dict[tuple[object, ...], tuple[ImageKind, Component]] = {}
    for (kind, component), members in groups.items():
        rounded = replace(
            kind,
            comments="",
            orientation=tuple(round(c, 3) + 0.0 for c in kind.orientation),
            pixel_spacing=tuple(round(c, 3) for c in kind.pixel_spacing),
        )
        merged[names.setdefault((rounded, component), (kind, component))] += members
    return merged


def _field_map_instances(scan: ScanParameters, slices: Sequence[_Member]) -> frozenset[int]:
    """Instances of a map of the field where the vendor says which they are, and each slice has a number."""
    instances = sorted(one.instance for _, one in slices if one.instance is not None)
    if len(instances) != len(slices):
        return frozenset()
    return vendor_of(scan.manufacturer).field_map_instances(scan.technique, instances)


def _offset(one: Slice) -> float:
    """Distance along the slices' normal, mm."""
    if len(one.kind.orientation) != 6 or len(one.position) != 3:
        return float(one.instance or 0)
    return sum(n * p for n, p in zip(_normal(one.kind.orientation), one.position, strict=True))


@lru_cache(maxsize=1024)
def _normal(orientation: Vector) -> Vector:
    return tuple(float(c) for c in np.cross(orientation[:3], orientation[3:]))


def _repetitions(scan: ScanParameters, members: Sequence[_Member]) -> list[list[_Member]]:
    """Split slices that lie at the same place into repetitions, in the order of acquisition."""
    ordered = sorted(members, key=lambda m: (_order(m[1]), m[0].path))
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
    scan: ScanParameters,
    kind: ImageKind,
    component: Component,
    coil: str | None,
    repetition: int,
    members: list[_Member],
) -> Stack:
    files = tuple(dict.fromkeys(Path(header.path) for header, _ in members))
    acquired = [when for when in (acquired_at(one.acquired) for _, one in members) if when]
    return Stack(
        kind=kind,
        component=component,
        coil=coil,
        repetition=repetition,
        files=files,
        shared=any(len(header.slices) > len(members) for header, _ in members),
        offsets=tuple(round(_offset(one), 3) for _, one in members),
        corner=members[0][1].position if all(one.position for _, one in members) else (),
        n_slices=(scan.expected_slices or 1) if scan.mosaic else len(members),
        acquired=min(acquired, default=None),
    )
