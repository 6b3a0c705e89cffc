"""Values whose type is not ours to fix: those of settings and of sidecars of raw images."""

from __future__ import annotations

import math


def text(value: object) -> str:
    """Return text as it is, numbers as text, anything else as empty text."""
    if isinstance(value, str):
        return value
    return "" if isinstance(value, bool) or not isinstance(value, int | float) else f"{value:g}"


def words(value: object, separator: str = ", ") -> str:
    """Return a setting as it is shown: yes or no, and what a list holds."""
    if isinstance(value, bool):
        return ("no", "yes")[value]
    return separator.join(map(text, value)) if isinstance(value, list) else text(value)


def number(value: object) -> float | None:
    """Return a finite number, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def numbers(value: object) -> tuple[float, ...]:
    """Return the finite numbers of a list."""
    values = value if isinstance(value, list | tuple) else ()
    return tuple(item for item in map(number, values) if item is not None)
