"""A measure of the quality of a map, with the limits that it was compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STATES = ("good", "look", "bad", "none")


@dataclass(frozen=True)
class Measure:
    """What was measured, and what it means; each measure is defined in `docs/quality.md`.

    Attributes
    ----------
    value
        None where it could not be measured.
    units
        Of the value; `1` for a ratio.
    limits
        Two numbers, from which the map needs review and from which it is poor: ascending if more is worse,
        descending if less is. Four numbers, ascending: poor below, review below, review above, poor above.
        None without known limits.
    state
        As `state_of`.
    title, description
        Its name for people, and what it tells, in one sentence.
    note
        On what it was measured, in words.
    """

    value: float | None
    units: str
    limits: tuple[float, ...] | None
    state: str
    title: str
    description: str
    note: str = ""


def state_of(value: float | None, limits: Sequence[float] | None) -> str:
    """Compare a value with its limits.

    Parameters
    ----------
    value
        What was measured.
    limits
        As `Measure.limits`.

    Returns
    -------
    str
        `good`, `look`, `bad`, or `none` without a value or limits.

    Examples
    --------
    >>> [state_of(value, (10, 4)) for value in (12, 8, 3)]
    ['good', 'look', 'bad']
    >>> [state_of(value, (1, 2, 8, 9)) for value in (0, 1.5, 5, 8.5, 10)]
    ['bad', 'look', 'good', 'look', 'bad']
    """
    if value is None or limits is None:
        return "none"
    if len(limits) == 4:
        states = (state_of(value, (limits[1], limits[0])), state_of(value, (limits[2], limits[3])))
        return max(states, key=STATES.index)
    look, bad = limits
    sign = 1 if bad > look else -1
    return "bad" if sign * value > sign * bad else "look" if sign * value > sign * look else "good"
