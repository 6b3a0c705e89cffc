"""Design matrix of a formula: what each scan has for every term, and what stands against that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.errors import UnusableData, WrongUsage
from qsmxt_app.group.statistics.formula import Formula
from qsmxt_app.group.tables import LEFT_OVER, MEANING, MEASURES, REGION, SCAN, Row

INTERCEPT = "intercept"
FEWEST_PER_GROUP, FEWEST_DEGREES = 10, 10
"""Participants of a group, and residual degrees of freedom, below which a warning is given."""
LARGEST_INFLATION = 10.0
"""Variance inflation above which a warning is given (Kutner 2005, Applied Linear Statistical Models)."""
_NO_VARIABLES = {"participant_id", *REGION, *MEASURES, *MEANING}
_RANK_TOLERANCE = 1e-9
_MOST_NAMED = 6


@dataclass(frozen=True)
class Effect:
    """One coefficient: its name, as `group[patient]:age`, and whether it is between groups alone."""

    name: str
    between_groups: bool


@dataclass(frozen=True)
class Design:
    """A formula with the scans that it can be fitted to.

    Attributes
    ----------
    effects
        Of all columns but the first, which is the intercept.
    matrix : ndarray (scans, 1 + effects)
        Numbers are relative to their mean.
    scans, participants
        Name and participant of each row.
    references
        Level of each variable of words that the others are compared with.
    centres
        Mean of each variable of numbers, over the rows.
    group_sizes
        Participants of each level of each variable of words.
    left_out
        Scans for which variables are missing, and which.
    """

    formula: Formula
    effects: tuple[Effect, ...]
    matrix: NDArray[np.float64]
    scans: tuple[str, ...]
    participants: tuple[str, ...]
    references: Mapping[str, str]
    centres: Mapping[str, float]
    group_sizes: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, str]

    def warnings(self) -> list[str]:
        """Say what to keep in mind about this design."""
        found = [
            f"{name} {level} has {size} participant{'s' * (size != 1)}: with fewer than {FEWEST_PER_GROUP} "
            "in a group, only very large effects are found, and single participants decide the result."
            for name, sizes in self.group_sizes.items()
            for level, size in sizes.items()
            if size < FEWEST_PER_GROUP
        ]
        degrees = len(set(self.participants)) - self.matrix.shape[1]
        if degrees < FEWEST_DEGREES:
            found.append(
                f"{degrees} residual degrees of freedom between participants: fewer than {FEWEST_DEGREES}, "
                "for so many terms."
            )
        if self.left_out:
            scans = [f"{scan} ({missing})" for scan, missing in self.left_out.items()]
            found.append(f"Left out, as variables are missing: {listed(scans)}.")
        inflated = [f"{name} ({value:.0f})" for name, value in self._inflation() if value > LARGEST_INFLATION]
        if inflated:
            found.append(
                f"Variances are inflated because terms are correlated with others: {listed(inflated)}."
            )
        return found

    def _inflation(self) -> list[tuple[str, float]]:
        if len(self.effects) < 2:
            return []
        correlation = np.corrcoef(self.matrix[:, 1:], rowvar=False)
        factors = np.diag(np.linalg.inv(correlation))
        return [(effect.name, float(value)) for effect, value in zip(self.effects, factors, strict=True)]


def make_design(
    formula: Formula, scans: Sequence[Row], levels: Mapping[str, Sequence[str]] | None = None
) -> Design:
    """Build the design matrix.

    Parameters
    ----------
    formula
        Its variables are columns of `scans`.
    scans
        One row a scan: its own columns, and those of participants.tsv and sessions.tsv; empty where missing.
    levels
        Variables whose numbers stand for words (`Levels` in participants.json), with these in their order.

    Raises
    ------
    WrongUsage
        A variable is not a column.
    UnusableData
        A column is constant, mixes words and numbers, or is a combination of others; or too few scans.
    """
    _check_names(formula, scans)
    missing = {
        scan_name(row): ", ".join(name for name in formula.variables if not row.get(name)) for row in scans
    }
    rows = [row for row in scans if not missing[scan_name(row)]]
    if not rows:
        raise UnusableData(
            f"--model '{formula.text}': no scan has all of {', '.join(formula.variables)}.",
            "Complete participants.tsv.",
        )
    variables = {
        name: _variable(name, [row[name] for row in rows], (levels or {}).get(name))
        for name in formula.variables
    }
    effects, columns = _columns(formula, variables)
    people = tuple(row["participant_id"] for row in rows)
    matrix = np.column_stack([np.ones(len(rows)), *columns])
    _check_rank([INTERCEPT, *(effect.name for effect in effects)], matrix, len(set(people)))
    return Design(
        formula,
        effects,
        matrix,
        tuple(map(scan_name, rows)),
        people,
        references={name: one.levels[0] for name, one in variables.items() if one.levels},
        centres={name: one.centre for name, one in variables.items() if not one.levels},
        group_sizes={
            name: {level: _people(people, one.columns[level]) for level in one.levels}
            for name, one in variables.items()
            if one.levels
        },
        left_out={scan: names for scan, names in missing.items() if names},
    )


def scan_name(row: Row) -> str:
    """Return the name of a scan: participant, session, acquisition and run.

    Examples
    --------
    >>> scan_name({"participant_id": "sub-01", "session_id": "ses-A", "run": "2"})
    'sub-01 ses-A 2'
    """
    return " ".join(filter(None, (row.get(name, "") for name in (*SCAN, LEFT_OVER))))


@dataclass(frozen=True)
class _Variable:
    """One variable: indicators of its levels, or its numbers under its own name, relative to the centre."""

    columns: Mapping[str, NDArray[np.float64]]
    levels: tuple[str, ...] = ()
    centre: float = 0.0


def _check_names(formula: Formula, scans: Sequence[Row]) -> None:
    known = dict.fromkeys(name for row in scans for name in row if name not in _NO_VARIABLES)
    for name in formula.variables:
        if name not in known:
            raise WrongUsage(
                f"--model '{formula.text}': there is no column {name} in participants.tsv or sessions.tsv.",
                f"There are: {', '.join(known) or 'none'}.",
            )


def _variable(name: str, cells: Sequence[str], levels: Sequence[str] | None) -> _Variable:
    different = sorted(set(cells))
    if len(different) == 1:
        raise UnusableData(
            f"--model: {name} is {different[0]} in all scans, so that nothing can be compared by it.",
            "Leave it out of the formula.",
        )
    numbers = {cell: number for cell in different if (number := _number(cell)) is not None}
    if numbers and len(numbers) < len(different) and levels is None:
        word = next(cell for cell in different if cell not in numbers)
        raise UnusableData(
            f"--model: {name} has numbers and words ('{word}').", "Write n/a for what is not known."
        )
    if len(numbers) == len(different) and levels is None:
        values = np.array([numbers[cell] for cell in cells])
        return _Variable({name: values - values.mean()}, centre=float(values.mean()))
    ordered = [level for level in levels or () if level in different]
    ordered += [level for level in different if level not in ordered]
    array = np.array(cells)
    return _Variable({level: (array == level).astype(float) for level in ordered}, tuple(ordered))


def _columns(
    formula: Formula, variables: Mapping[str, _Variable]
) -> tuple[tuple[Effect, ...], list[NDArray[np.float64]]]:
    """Return a column for every combination of levels, the first level of each being the reference."""
    effects, columns = [], []
    for term in formula.terms:
        choices = [
            [(f"{name}[{level}]", variables[name].columns[level]) for level in variables[name].levels[1:]]
            or [(name, variables[name].columns[name])]
            for name in term
        ]
        for chosen in product(*choices):
            name = ":".join(name for name, _ in chosen)
            effects.append(Effect(name, all(variables[one].levels for one in term)))
            columns.append(np.prod([column for _, column in chosen], axis=0))
    return tuple(effects), columns


def _check_rank(names: Sequence[str], matrix: NDArray[np.float64], people: int) -> None:
    if people <= matrix.shape[1]:
        raise UnusableData(
            f"--model: {people} participants have all variables, too few for {matrix.shape[1]} parameters.",
            "Leave out terms.",
        )
    norms = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(norms > 0, norms, 1)
    for place in range(1, len(names)):
        before = scaled[:, :place]
        weights, *_ = np.linalg.lstsq(before, scaled[:, place], rcond=None)
        if np.linalg.norm(scaled[:, place] - before @ weights) < _RANK_TOLERANCE:
            others = [name for name, weight in zip(names, weights, strict=False) if abs(weight) > 1e-6]
            others = [name for name in others if name != INTERCEPT] or ["the others"]
            raise UnusableData(
                f"--model: {names[place]} is determined by {' and '.join(others)} (collinear), so that their "
                "effects cannot be told apart.",
                "Leave one of them out.",
            )


def full_rank(matrix: NDArray[np.float64]) -> bool:
    """Return whether the columns of a matrix are independent."""
    norms = np.linalg.norm(matrix, axis=0)
    return bool((norms > 0).all() and np.linalg.matrix_rank(matrix / norms, tol=1e-6) == matrix.shape[1])


def _people(people: Sequence[str], belongs: NDArray[np.float64]) -> int:
    return len({person for person, one in zip(people, belongs, strict=True) if one})


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def listed(names: Sequence[str]) -> str:
    """List names, and say how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
