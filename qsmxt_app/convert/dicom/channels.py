"""Uncombined channels that a scanner sent as series of their own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from qsmxt_app.convert.dicom.classify import is_neighbour, same_protocol
from qsmxt_app.convert.dicom.series import Series

SAME_MOMENT = 5.0
"""s between the first images of two channels of one scan, at most."""
_ELEMENT = re.compile(r"[A-Z]{0,4}[-_ ]?\d{1,3}[A-Z]?", re.I)
"""One element of a coil, such as ``H12`` or ``HC3P``; what combined images name is a list or a range."""


def name_channels(series: Sequence[Series], kinds: Mapping[str, object]) -> tuple[Series, ...]:
    """Name the channel of the stacks of each series that differs from another by the coil's element alone.

    Parameters
    ----------
    kinds
        By series, what it is; only series of one kind are compared, others not at all.
    """
    by_element: defaultdict[tuple[str, object], list[Series]] = defaultdict(list)
    for one in series:
        if one.key in kinds and all(_ELEMENT.fullmatch(stack.kind.coil) for stack in one.stacks):
            by_element[one.scan.study_uid, kinds[one.key]].append(one)
    channels = {
        one.key
        for candidates in by_element.values()
        for one in candidates
        if any(_other_channel(one, two) for two in candidates)
    }
    return tuple(
        replace(one, stacks=tuple(replace(s, coil=s.kind.coil) for s in one.stacks))
        if one.key in channels
        else one
        for one in series
    )


def _other_channel(one: Series, two: Series) -> bool:
    slots = [{(s.component, s.echo_time, s.repetition) for s in series.stacks} for series in (one, two)]
    coils = [{stack.kind.coil for stack in series.stacks} for series in (one, two)]
    return (
        bool(one.acquired and two.acquired)
        and abs((one.acquired - two.acquired).total_seconds()) <= SAME_MOMENT  # type: ignore[operator]
        and not slots[0].isdisjoint(slots[1])
        and coils[0].isdisjoint(coils[1])
        and same_protocol(one, two)
        and is_neighbour(one, two)
    )
