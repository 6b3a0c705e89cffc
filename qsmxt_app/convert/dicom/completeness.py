"""Which slices are missing, from gaps, from what the header promises, and from the other parts of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qsmxt_app.convert.dicom.header import ScanParameters, Vector
from qsmxt_app.convert.dicom.series import Series, Stack, same_plane

GAP = 1.5
"""Slices further apart than so many times the usual distance have another missing between them."""
SAME_SCAN = 10.0
"""s between the first images of two series of one scan, at most."""


def missing_slices(series: Series) -> str:
    """Say which slices are missing, if any."""
    return "; ".join(dict.fromkeys(reason for reason in missing_by_stack(series) if reason))


def missing_by_stack(series: Series) -> list[str]:
    """Say for each image of a series which slices are missing; empty where none are."""
    return [_missing(series, stack) for stack in series.stacks]


def _missing(series: Series, stack: Stack) -> str:
    scan = series.scan
    if scan.mosaic:
        return ""
    peers = [s.n_slices for s in series.stacks if same_plane(s.kind, stack.kind)]
    if gaps := _gaps(stack, scan):
        return gaps
    if scan.expected_slices and stack.n_slices < scan.expected_slices and len(_planes(series)) == 1:
        return f"{stack.n_slices} of {scan.expected_slices} slices of an image were found"
    if stack.n_slices < max(peers):
        return f"{stack.n_slices} slices of one image, {max(peers)} of another"
    return ""


def compare_counts(series: Sequence[Series], kinds: Mapping[str, object]) -> tuple[Series, ...]:
    """Mark series that lack slices which a part or echo of the same scan in another series has.

    Parameters
    ----------
    kinds
        By series, what it is; only series of one kind are compared, others not at all.
    """
    checked = []
    for one in series:
        longer = next((two for two in series if _lacks_slices_of(one, two, kinds)), None)
        if longer is not None and not one.incomplete:
            counts = f"{one.stacks[0].n_slices} slices, {longer.stacks[0].n_slices} in series {longer.key}"
            checked.append(replace(one, incomplete=f"{counts} of the same scan"))
        else:
            checked.append(one)
    return tuple(checked)


def _lacks_slices_of(one: Series, two: Series, kinds: Mapping[str, object]) -> bool:
    """Whether all slices of one series are among the more slices of another, acquired with it."""
    if one is two or one.key not in kinds or kinds[one.key] != kinds.get(two.key):
        return False
    same_scan = (
        one.scan.study_uid == two.scan.study_uid
        and one.scan.protocol == two.scan.protocol
        and one.scan.repetition_time == two.scan.repetition_time
        and one.acquired is not None
        and two.acquired is not None
        and abs((one.acquired - two.acquired).total_seconds()) <= SAME_SCAN
    )
    short, long = one.stacks[0], two.stacks[0]
    if not same_scan or short.n_slices >= long.n_slices or not same_plane(short.kind, long.kind):
        return False
    return {round(z, 1) for z in short.offsets} < {round(z, 1) for z in long.offsets}


def _planes(series: Series) -> set[Vector]:
    return {tuple(round(c, 2) for c in stack.kind.orientation) for stack in series.stacks}


def _gaps(stack: Stack, scan: ScanParameters) -> str:
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
