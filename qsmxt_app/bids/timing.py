"""Echo times, field strength and readout polarity from sidecars, checked for plausibility."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from qsmxt_app.errors import UnusableData
from qsmxt_app.qsm.constants import GAMMA_BAR_MHZ_PER_T

# No gradient echo of a head or body has signal left after this long, even at 0.05 T.
LONGEST_ECHO_TIME = 0.5
# The last echo of ultrashort sequences comes later; what is shorter was divided by 1000 once too often.
SHORTEST_LAST_ECHO_TIME = 6e-5
# From Halbach-array scanners (0.05 T) to the strongest human magnet (11.7 T) and animal ones (21 T).
FIELD_RANGE = (0.02, 21.5)
# The same echo's magnitude and phase may be rounded differently, not by more than this (s).
_SAME_ECHO_TIME = 1e-5


def echo_time_of(metadata: Mapping[str, Any], path: Path) -> float | list[float] | None:
    """Echo time(s) in seconds from one sidecar; None where it has no ``EchoTime``.

    Raises
    ------
    UnusableData
        If the value is not a positive number of seconds; the message mentions milliseconds where likely.
    """
    value = metadata.get("EchoTime")
    if value is None:
        return None
    if isinstance(value, list):
        return [_checked_echo_time(one, path) for one in value]
    return _checked_echo_time(value, path)


def _checked_echo_time(value: object, path: Path) -> float:
    hint = "Give EchoTime in seconds in its JSON sidecar."
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnusableData(f"{path}: EchoTime is {value!r}, not a number.", hint)
    if value <= 0:
        raise UnusableData(f"{path}: EchoTime is {value} s, which is not positive.", hint)
    if value > 1:
        raise UnusableData(
            f"{path}: EchoTime is {value} s, most likely milliseconds.", f"Write {value / 1000:g}."
        )
    if value > LONGEST_ECHO_TIME:
        raise UnusableData(f"{path}: EchoTime is {value} s, longer than any gradient echo.", hint)
    return float(value)


def agreed_echo_time(times: Mapping[Path, float | None]) -> float:
    """One echo's time from the sidecars of its images.

    Raises
    ------
    UnusableData
        If no sidecar gives it, or they disagree.
    """
    known = {path: time for path, time in times.items() if time is not None}
    if not known:
        path = next(iter(times))
        raise UnusableData(
            f"{path}: no EchoTime in its sidecar.", "Add EchoTime in seconds to the JSON file."
        )
    if max(known.values()) - min(known.values()) > _SAME_ECHO_TIME:
        first, *_, last = known.items()
        raise UnusableData(
            f"{first[0]}: EchoTime is {first[1]:g} s, but {last[1]:g} s for {last[0].name}.",
            "Correct the sidecar that is wrong.",
        )
    return next(iter(known.values()))


def check_ascending(times: Sequence[float], paths: Sequence[Path]) -> None:
    """Raise `UnusableData` where echo times repeat, fall from one echo to the next, or are too short."""
    if times[-1] < SHORTEST_LAST_ECHO_TIME:
        raise UnusableData(
            f"{paths[-1]}: EchoTime is {times[-1]:g} s, shorter than any gradient echo.",
            f"Give EchoTime in seconds; {1000 * times[-1]:g}?",
        )
    for index in range(1, len(times)):
        before, now = times[index - 1], times[index]
        if abs(now - before) < _SAME_ECHO_TIME:
            what = f"EchoTime is {now:g} s, the same as the echo before"
        elif now < before:
            what = f"EchoTime is {now:g} s, shorter than the echo before ({before:g} s)"
        else:
            continue
        raise UnusableData(f"{paths[index]}: {what}.", "Correct EchoTime or the echo numbers.")


def field_strength_of(metadata: Mapping[str, Any], path: Path) -> tuple[float, tuple[str, ...]]:
    """B0 in T, and warnings.

    ``ImagingFrequency`` (MHz) is preferred where it agrees with ``MagneticFieldStrength`` to 10 %: the
    latter is the nominal value (3 T for magnets that run at 2.89 T, an error of 4 % in ppm).

    Raises
    ------
    UnusableData
        If neither is there, or the value is implausible.
    """
    nominal = _positive(metadata.get("MagneticFieldStrength"))
    frequency = _positive(metadata.get("ImagingFrequency"))
    measured = None if frequency is None else frequency / GAMMA_BAR_MHZ_PER_T
    hint = "Give MagneticFieldStrength in tesla in its JSON sidecar."
    if nominal is None:
        if metadata.get("MagneticFieldStrength") is not None:
            given = metadata["MagneticFieldStrength"]
            raise UnusableData(
                f"{path}: MagneticFieldStrength is {given!r}, not a positive number.",
                hint,
            )
        if measured is None:
            raise UnusableData(f"{path}: no MagneticFieldStrength in its sidecar.", hint)
        nominal = measured
    low, high = FIELD_RANGE
    if not low <= nominal <= high:
        unit = " (gauss or millitesla?)" if nominal > high else ""
        raise UnusableData(f"{path}: a field strength of {nominal:g} T is implausible{unit}.", hint)
    if measured is None:
        return nominal, ()
    if abs(measured - nominal) > 0.1 * nominal:
        return nominal, (
            f"ImagingFrequency ({frequency:g} MHz) does not belong to MagneticFieldStrength ({nominal:g} T); "
            "the latter is used",
        )
    return measured, ()


def readout_is_bipolar(metadata: Mapping[str, Any]) -> bool | None:
    """Whether a sidecar says that even echoes are read in the other direction; None where it does not say.

    BIDS has no field for it. ``Bipolar`` (true, false), ``ReadoutPolarity``, ``ReadoutMode`` and
    ``PulseSequenceType`` (``bipolar``, ``monopolar``, ``unipolar``) are understood.
    """
    flag = metadata.get("Bipolar")
    if isinstance(flag, bool):
        return flag
    for key in ("ReadoutPolarity", "ReadoutMode", "PulseSequenceType"):
        value = str(metadata.get(key, "")).lower()
        if "bipolar" in value:
            return True
        if "monopolar" in value or "unipolar" in value:
            return False
    return None


def readout_of(metadata: Mapping[str, Any], numbers: Sequence[int]) -> tuple[bool | None, tuple[str, ...]]:
    """Whether the chosen echoes are read in alternating directions, and warnings.

    Parameters
    ----------
    metadata
        Merged sidecar.
    numbers
        Of the echoes, ascending; some may have been left out.
    """
    bipolar = readout_is_bipolar(metadata)
    directions = [number % 2 for number in numbers]
    if not bipolar or all(now != before for before, now in pairwise(directions)):
        return bipolar, ()
    if len(set(directions)) == 1:
        return False, ()
    return False, ("the directions of readout of the selected echoes do not alternate; not corrected",)


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None
