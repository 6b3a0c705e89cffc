"""What the scans of a group ought to share and do not: maps made in different ways cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_NAMES = 5


@dataclass(frozen=True)
class InconsistentSetting:
    """Something in which scans differ: what it is, and who has what, in words."""

    what: str
    who: str

    def __str__(self) -> str:
        return f"not the same in all scans: {self.what}: {self.who}"


def inconsistent_settings(scans: Mapping[str, Mapping[str, str]]) -> list[InconsistentSetting]:
    """Find out in what the scans of a group differ.

    Parameters
    ----------
    scans
        Of each scan, by its name, what was noted of it. What is empty is not known, and differs from nothing.

    Examples
    --------
    >>> inconsistent_settings({name: {"reference": "csf" if name == "sub-2" else "mean"} for name in ("sub-1", "sub-2", "sub-3")})
    [InconsistentSetting(what='reference', who='mean in 2 scans; csf in sub-2')]
    """  # noqa: E501 - one line is one example
    found = []
    for what in dict.fromkeys(key for noted in scans.values() for key in noted):
        who: dict[str, list[str]] = {}
        for scan, noted in scans.items():
            if noted.get(what):
                who.setdefault(noted[what], []).append(scan)
        if len(who) > 1:
            # the most frequent first: those who are named are the ones to look at
            most, *others = sorted(who.items(), key=lambda item: -len(item[1]))
            parts = [_counted(*most), *(_named(*item) for item in others)]
            found.append(InconsistentSetting(what, "; ".join(parts)))
    return found


def _counted(value: str, scans: Sequence[str]) -> str:
    return f"{value} in {len(scans)} scans" if len(scans) > 1 else _named(value, scans)


def _named(value: str, scans: Sequence[str]) -> str:
    further = f" and {len(scans) - MOST_NAMES} more" if len(scans) > MOST_NAMES else ""
    return f"{value} in {', '.join(scans[:MOST_NAMES])}{further}"
