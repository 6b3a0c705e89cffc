"""Age, sex and group of simulated people, and what these do to the susceptibility of their nuclei."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from qsmxt_app.simulate.tissues import TISSUES

YOUNGEST, OLDEST, MEAN_AGE = 20, 80, 50
GROUPS = ("control", "patient")
_KINDS = ("nucleus", "cortex", "white")

PARTICIPANTS_JSON: Mapping[str, Any] = {
    "age": {"Description": "Age", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    "group": {"Description": "Group", "Levels": {"control": "control", "patient": "patient"}},
}
"""Data dictionary of the table of participants."""


@dataclass(frozen=True)
class Participant:
    """One simulated person."""

    age: int
    sex: Literal["F", "M"]
    group: Literal["control", "patient"]


@dataclass(frozen=True)
class TrueEffects:
    """Changes of susceptibility, by tissue without its side, such as `putamen`.

    Attributes
    ----------
    group
        Of patients, in ppm.
    sex
        Of men, in ppm.
    age
        Per year beyond `MEAN_AGE`, in ppm.

    Raises
    ------
    ValueError
        There is no such tissue.
    """

    group: Mapping[str, float] = field(default_factory=dict)
    sex: Mapping[str, float] = field(default_factory=dict)
    age: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = dict.fromkeys(_key(tissue.name) for tissue in TISSUES if tissue.kind in _KINDS)
        for name in (*self.group, *self.sex, *self.age):
            if _key(name) not in known:
                raise ValueError(f"no tissue {name}; there are {', '.join(known)}")

    def of(self, person: Participant) -> dict[str, float]:
        """Return the change in ppm of each tissue, both sides, that this person has."""
        factors = (
            (self.group, float(person.group == "patient")),
            (self.sex, float(person.sex == "M")),
            (self.age, float(person.age - MEAN_AGE)),
        )
        change: dict[str, float] = {}
        for tissue in TISSUES:
            parts = [
                factor * ppm
                for effects, factor in factors
                for name, ppm in effects.items()
                if _key(name) == _key(tissue.name)
            ]
            if sum(parts):
                change[tissue.name] = sum(parts)
        return change


def draw_participant(seed: int, index: int) -> Participant:
    """Draw age, sex and group of a person; every second one is a patient.

    Parameters
    ----------
    seed, index
        As for :func:`~qsmxt_app.simulate.subject.simulate_subject`. No effect changes anything else of the
        person.
    """
    rng = np.random.default_rng([seed, index, 6])
    age = int(rng.integers(YOUNGEST, OLDEST, endpoint=True))
    return Participant(age, "F" if rng.random() < 0.5 else "M", "control" if index % 2 else "patient")


def participants_tsv(people: Mapping[str, Participant]) -> str:
    """Return the BIDS table of people by their label, such as `sub-01`."""
    rows: Iterable[tuple[object, ...]] = (
        (label, person.age, person.sex, person.group) for label, person in people.items()
    )
    head = ("participant_id", "age", "sex", "group")
    return "".join("\t".join(map(str, row)) + "\n" for row in (head, *rows))


def _key(name: str) -> str:
    plain = name.lower().replace("_", "-").replace(" ", "-")
    return plain.removeprefix("left-").removeprefix("right-")
