"""Which participants, sessions, runs and acquisitions of a dataset are wanted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bidsschematools.schema import load_schema

from qsmxt_app.bids.entities import entity_order, without_prefix
from qsmxt_app.bids.sidecars import read_json_object
from qsmxt_app.errors import NothingSelected, QsmxtError, WrongUsage

QSM_FILTERS = ("megre", "t2starw", "qsm")


@dataclass(frozen=True)
class Selection:
    """What to run; an empty field selects everything.

    Attributes
    ----------
    participants, sessions, runs, acquisitions
        Labels, with or without their ``sub-``, ``ses-``, ``run-``, ``acq-``. Runs compare as numbers.
    bids_filters
        As `read_bids_filter` returns it: for ``megre``, ``t2starw``, ``qsm`` (both of them) and ``t1w``,
        the labels that an entity may have.
    """

    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    runs: Sequence[str] = ()
    acquisitions: Sequence[str] = ()
    bids_filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def matches(self, entities: Mapping[str, str], suffix: str) -> bool:
        """Whether a gradient-echo image with these entities is wanted."""
        wanted = {"ses": self.sessions, "run": self.runs, "acq": self.acquisitions}
        if not all(
            entity_matches(key, entities.get(key), [without_prefix(key, label) for label in labels])
            for key, labels in wanted.items()
            if labels
        ):
            return False
        return all(self.passes_filter(name, entities) for name in (suffix.lower(), "qsm"))

    def passes_filter(self, name: str, entities: Mapping[str, str]) -> bool:
        """Whether entities pass the named part of the filter file; True where it has no such part."""
        conditions = self.bids_filters.get(name, {})
        return all(entity_matches(key, entities.get(key), wanted) for key, wanted in conditions.items())

    @property
    def narrows(self) -> bool:
        """Whether anything but participants is selected."""
        return bool(self.sessions or self.runs or self.acquisitions or self.bids_filters)


def entity_matches(key: str, label: str | None, wanted: object) -> bool:
    """Whether a label is one of those wanted; a wanted None means that the entity must be absent.

    Examples
    --------
    >>> entity_matches("run", "01", [1])
    True
    >>> entity_matches("acq", None, [None])
    True
    """
    options = wanted if isinstance(wanted, list | tuple) else [wanted]
    return any(_same_label(key, label, option) for option in options)


def _same_label(key: str, label: str | None, option: object) -> bool:
    if option is None or label is None:
        return option is None and label is None
    if option == "*":
        return True
    text = str(option)
    if text == label:
        return True
    return key in {"run", "echo"} and text.isdecimal() and label.isdecimal() and int(text) == int(label)


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

    An object whose keys are ``megre``, ``t2starw``, ``qsm`` or ``t1w`` and whose values map entities (short
    or long names) to a label, a list of labels, null (absent) or ``"*"`` (any label).

    Raises
    ------
    WrongUsage
        If the file cannot be read, or names an unknown part or entity.
    """
    try:
        content = read_json_object(path)
    except QsmxtError as error:
        raise WrongUsage(f"--bids-filter-file: {error.message}", error.hint) from error
    filters: dict[str, dict[str, Any]] = {}
    for name, conditions in content.items():
        if name not in (*QSM_FILTERS, "t1w") or not isinstance(conditions, dict):
            known = ", ".join((*QSM_FILTERS, "t1w"))
            raise WrongUsage(f"--bids-filter-file {path}: {name!r} is not one of {known} with an object.")
        filters[name] = {
            _short_key(key, path): wanted
            for key, wanted in conditions.items()
            if key not in {"datatype", "suffix"}
        }
    return filters


def _short_key(key: str, path: Path) -> str:
    short = _short_names().get(key, key)
    if short not in entity_order():
        raise WrongUsage(f"--bids-filter-file {path}: BIDS knows no entity {key!r}.")
    return short


@cache
def _short_names() -> dict[str, str]:
    entities = load_schema().objects.entities
    return {name: str(entity.name) for name, entity in entities.items()}
