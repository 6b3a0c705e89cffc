"""Which participants, sessions, runs and acquisitions of a dataset are wanted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmxt_app.bids.entities import entity_order, without_prefix
from qsmxt_app.bids.layout import long_names
from qsmxt_app.bids.sidecars import read_json_object
from qsmxt_app.errors import NothingSelected, QsmxtError, WrongUsage

ANATOMICAL = ("t1w", "r2")
"""Parts of a filter file that select other images than gradient echoes."""
FILTERS = ("megre", "t2starw", "mpm", "vfa", "gre", "qsm", *ANATOMICAL)


@dataclass(frozen=True)
class Selection:
    """What to run; an empty field selects everything.

    Attributes
    ----------
    participants, sessions, runs, acquisitions
        Labels, with or without their ``sub-``, ``ses-``, ``run-``, ``acq-``. Runs compare as numbers.
    bids_filters
        As `read_bids_filter` returns it: for ``megre``, ``t2starw``, ``qsm`` (all gradient echoes), ``t1w``,
        the labels that an entity may have.
    reconstructions
        Labels with or without their ``rec-``.
    echoes
        Numbers of echoes, from 1.
    """

    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    runs: Sequence[str] = ()
    acquisitions: Sequence[str] = ()
    bids_filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reconstructions: Sequence[str] = ()
    echoes: frozenset[int] = frozenset()

    def query(self, name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """Narrow a query to what is wanted.

        Parameters
        ----------
        name
            Of the query: ``megre``, ``t2starw``, ``t1w``.
        query
            What it selects by default, as `qsmxt_app.bids.layout.files` takes it.

        Raises
        ------
        WrongUsage
            If a flag and the filter file both say which labels of an entity are wanted.
        """
        filters = dict(self.bids_filters.get(name, {}))
        if name in ANATOMICAL:
            return {**query, **filters}
        filters = {**self.bids_filters.get("qsm", {}), **filters}
        flags = {
            "ses": self.sessions,
            "run": self.runs,
            "acq": self.acquisitions,
            "rec": self.reconstructions,
        }
        labels = {key: _labels(key, given) for key, given in flags.items() if given}
        if both := sorted(labels.keys() & filters.keys()):
            raise WrongUsage(
                f"{both[0]}- is selected by --bids-filter-file and by a flag.", "Use one of the two."
            )
        if "rec" in labels:
            # phase is often saved once, without a rec-
            labels["rec"].append(None)
        return {**query, **labels, **filters}

    def has_reconstruction(self, label: str | None) -> bool:
        """Whether a reconstruction is wanted."""
        return not self.reconstructions or label in _labels("rec", self.reconstructions)

    def has_echo(self, number: int | None) -> bool:
        """Whether an echo is wanted; one without a number may hold several, of which some are."""
        return not self.echoes or number is None or number in self.echoes

    @property
    def narrows(self) -> bool:
        """Whether anything but participants and echoes is selected."""
        labels = (self.sessions, self.runs, self.acquisitions, self.reconstructions)
        return any(labels) or bool(self.bids_filters)


def _labels(key: str, given: Iterable[str]) -> list[str | None]:
    return [without_prefix(key, label) for label in given]


def echo_numbers(texts: Sequence[str]) -> frozenset[int]:
    """Numbers of echoes from ranges and lists.

    Raises
    ------
    WrongUsage
        For anything but numbers from 1, or ranges of them.

    Examples
    --------
    >>> sorted(echo_numbers(["1-3", "5,7"]))
    [1, 2, 3, 5, 7]
    """
    numbers: set[int] = set()
    for text in filter(None, ",".join(texts).replace(" ", "").split(",")):
        first, _, last = text.partition("-")
        if not re.fullmatch(r"[1-9]\d{0,2}(-[1-9]\d{0,2})?", text, re.ASCII) or int(last or first) < int(
            first
        ):
            raise WrongUsage(f"--echoes {text:.40} is not an echo or range of echoes.", "Use 1-5 or 1 3 5.")
        numbers |= set(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def select_labels(key: str, wanted: Iterable[str], existing: Sequence[str]) -> list[str]:
    """Return the wanted labels, or all that exist where none is wanted.

    Raises
    ------
    NothingSelected
        Naming a label that does not exist, and those that do.
    """
    labels = list(dict.fromkeys(without_prefix(key, label) for label in wanted))
    for label in labels:
        if label not in existing:
            close = difflib.get_close_matches(label, existing, n=5, cutoff=0.5) or list(existing[:5])
            more = "" if len(existing) <= len(close) else f" and {len(existing) - len(close)} more"
            names = ", ".join(f"{key}-{one}" for one in close)
            raise NothingSelected(f"{key}-{label} does not exist.", f"There is {names}{more}.")
    return labels or list(existing)


def read_bids_filter(path: Path) -> dict[str, dict[str, Any]]:
    """Read a filter file in the manner of fMRIPrep.

    An object whose keys are ``megre``, ``t2starw``, ``qsm`` (all gradient echoes), ``t1w`` or ``r2`` and
    whose values map entities (short or long names), ``suffix`` or ``datatype`` to a label, a list of labels,
    null (absent) or ``"*"`` (present, with any label). With ``regex_search`` true, labels are regular
    expressions.

    Returns
    -------
    dict
        The same, with short names of entities.

    Raises
    ------
    WrongUsage
        If the file cannot be read, or names an unknown part or entity.
    """
    try:
        content = read_json_object(path)
    except QsmxtError as error:
        raise WrongUsage(f"--bids-filter-file: {error.message}", error.hint) from error
    for name, conditions in content.items():
        if name not in FILTERS or not isinstance(conditions, dict):
            raise WrongUsage(
                f"--bids-filter-file {path}: {name!r} is not one of {', '.join(FILTERS)} with an object."
            )
    return {
        name: {_short_key(key, path): wanted for key, wanted in conditions.items()}
        for name, conditions in content.items()
    }


def _short_key(key: str, path: Path) -> str:
    short = {long: short for short, long in long_names().items()}.get(key, key)
    if short not in (*entity_order(), "datatype", "suffix", "regex_search"):
        raise WrongUsage(f"--bids-filter-file {path}: BIDS knows no entity {key!r}.")
    return short
