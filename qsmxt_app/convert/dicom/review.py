"""The review table: one row a series, saying what was found and what it became; the user's edits win.

The table is what a person reads and edits; a cell that differs from what the last run wrote is an edit. What
that run wrote, and the labels that subjects have, are remembered in a hidden file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from qsmxt_app.bids.atomic import write_json
from qsmxt_app.convert.converted_image import Suffix
from qsmxt_app.convert.dicom.classify import Role, SeriesType
from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.planned_acquisition import Entry
from qsmxt_app.convert.dicom.series import Series
from qsmxt_app.convert.dicom.subject_labels import SavedLabels, Visit
from qsmxt_app.convert.naming import legal_label
from qsmxt_app.convert.table import newest_table, read_table, write_table
from qsmxt_app.errors import UnusableData

EDITABLE = ("subject", "session", "role", "suffix", "acquisition", "run")
COLUMNS = (
    "series",
    *EDITABLE,
    "status",
    "became",
    "reason",
    "confidence",
    "files",
    "images",
    "slices",
    "echo_times_ms",
    "description",
    "protocol",
    "acquired",
    "scanner",
)
SKIP = "skip"
CONVERTED, LEFT_OUT, FAILED = "converted", "left out", "failed"
USED_ROLES: frozenset[Role] = frozenset(
    {"gradient-echo", "field-map", "phase-difference", "b0-map", "T1w", "UNIT1"}
)
_PARTS = ("magnitude", "phase", "real", "imaginary")
_WORDS: tuple[str, ...] = (*_PARTS, *(r for r in get_args(Role) if r != "gradient-echo"), SKIP)
_COMPONENT_OF: dict[Role, Component] = {"phase-difference": "phasediff", "b0-map": "b0map"}
_ROLE_OF_SUFFIX: dict[str, Role] = {
    "MEGRE": "gradient-echo",
    "T2starw": "gradient-echo",
    "T1w": "T1w",
    "UNIT1": "UNIT1",
}
"""Suffixes that can be asked for; those of field maps follow from the role."""


@dataclass
class Review:
    """What earlier runs and the user decided.

    Attributes
    ----------
    stem
        Path of the table without its extension.
    edits
        By series, the cells that the user changed.
    old_rows
        The table as it was read, by series.
    """

    stem: Path
    saved_labels: SavedLabels = field(default_factory=SavedLabels)
    edits: dict[str, dict[str, str]] = field(default_factory=dict)
    old_rows: dict[str, dict[str, str]] = field(default_factory=dict)
    line_of: dict[str, int] = field(default_factory=dict)
    table: Path | None = None
    computed: dict[str, dict[str, str]] = field(default_factory=dict)

    def fail(self, series: str, what: str, hint: str) -> UnusableData:
        """An error about one row."""
        return UnusableData(f"{self.table}: row {self.line_of.get(series, 0)} ({series}): {what}", hint)


def read_review(stem: Path) -> Review:
    """Read the table and what is remembered beside it; a table that was never written is empty.

    Raises
    ------
    UnusableData
        In one line: the file, the row, what is wrong and what to do.
    """
    remembered = _remembered(stem)
    people = {
        identity: {label: (facts[0], facts[1], facts[2]) for label, facts in known.items()}
        for identity, known in remembered.get("subjects", {}).items()
    }
    review = Review(stem, SavedLabels(people, remembered.get("sessions", {})))
    review.computed = remembered.get("computed", {})
    review.table = newest_table(stem)
    if review.table is None:
        return review
    table = read_table(review.table)
    if "series" not in table.columns:
        raise UnusableData(
            f"{review.table}: has no column named series.", "Put it back, or remove the file to start again."
        )
    for line, row in enumerate(table.rows, start=2):
        key = row["series"]
        if not key or key in review.old_rows:
            what = f"{key} is listed twice" if key else "the series is not named"
            raise UnusableData(f"{review.table}: row {line}: {what}.", "Remove the row.")
        review.old_rows[key], review.line_of[key] = row, line
    return review


def _remembered(stem: Path) -> dict[str, Any]:
    path = state_file(stem)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError("no object")
    except (ValueError, TypeError, OSError) as error:
        raise UnusableData(
            f"{path}: cannot be read ({error}).", "Restore it: it knows which person has which label."
        ) from error
    return content


def state_file(stem: Path) -> Path:
    """Hidden file that remembers labels and what the last run wrote."""
    return stem.parent / f".{stem.name}.json"


def find_edits(review: Review, computed: Mapping[str, Mapping[str, str]]) -> None:
    """Tell which cells the user changed since the last run, and keep what this one computes.

    Parameters
    ----------
    computed
        By series, the editable cells as they are without the user.
    """
    for key, row in review.old_rows.items():
        before = review.computed.get(key) or computed.get(key) or {}
        changed = {
            column: row[column]
            for column in EDITABLE
            if row.get(column) and row[column] != before.get(column, "")
        }
        if changed:
            review.edits[key] = changed
    review.computed |= {key: dict(cells) for key, cells in computed.items()}


def computed_cells(series: Series, series_type: SeriesType, visit: Visit) -> dict[str, str]:
    """Editable cells as headers alone give them."""
    return {
        "subject": visit.subject,
        "session": visit.session or "",
        "role": role_words(series_type.role, series_type.components),
        "suffix": _suffix(series, series_type.role),
        "acquisition": _acquisition(series) if series_type.role in USED_ROLES else "",
        "run": "",
    }


def role_words(role: Role, components: Iterable[Component | None]) -> str:
    """Role as the table names it: a gradient echo by its components."""
    if role != "gradient-echo":
        return role
    return "+".join(dict.fromkeys(component for component in components if component))


def _suffix(series: Series, role: Role) -> str:
    if role == "gradient-echo":
        return ""  # one echo or several: known when series are grouped
    return role if role in {"T1w", "UNIT1"} else ""


def _acquisition(series: Series) -> str:
    scan = series.scan
    return legal_label((scan.protocol or scan.description).removeprefix("WIP "))


def entry_of(series: Series, series_type: SeriesType, visit: Visit, review: Review) -> Entry | None:
    """One series with the user's edits; None if the user leaves it out.

    Raises
    ------
    UnusableData
        If an edit cannot be followed.
    """
    edits = review.edits.get(series.key, {})
    role, components = series_type.role, series_type.components
    used: tuple[Component | None, ...] = components
    suffix = _edited_suffix(series.key, edits, review)
    if SKIP in (edits.get("role", "").lower(), edits.get("suffix", "").lower()):
        return None
    if "role" in edits:
        role, used = _edited_role(series, components, edits["role"], review)
    elif suffix and _ROLE_OF_SUFFIX[suffix] != role:
        role = _ROLE_OF_SUFFIX[suffix]
    run = edits.get("run")
    if run is not None and not (run.isdecimal() and int(run) > 0):
        raise review.fail(series.key, f"run {run!r} is not a number.", "Use 1, 2, ... or leave it empty.")
    for column in ("subject", "session", "acquisition"):
        label = edits.get(column, "").removeprefix({"subject": "sub-", "session": "ses-"}.get(column, "acq-"))
        if label != legal_label(label):
            raise review.fail(
                series.key, f"{column} {label!r} is not a valid label.", "Use letters and digits."
            )
        if label:
            edits[column] = label
    return Entry(
        series=series,
        role=role,
        components=used,
        subject=edits.get("subject") or visit.subject,
        session=edits.get("session") or visit.session,
        suffix=suffix,
        acquisition=edits.get("acquisition"),
        run=None if run is None else int(run),
    )


def _edited_suffix(key: str, edits: Mapping[str, str], review: Review) -> Suffix | None:
    word = edits.get("suffix")
    if not word or word.lower() == SKIP:
        return None
    for suffix in get_args(Suffix):
        if suffix == word and word in _ROLE_OF_SUFFIX:
            found: Suffix = suffix
            return found
    known = ", ".join((*_ROLE_OF_SUFFIX, SKIP))
    raise review.fail(key, f"suffix {word!r} is not known.", f"Use one of {known}; for field maps, the role.")


def _edited_role(
    series: Series, components: Sequence[Component], words: str, review: Review
) -> tuple[Role, tuple[Component | None, ...]]:
    asked = [word.strip().lower() for word in words.split("+")]
    known = {word.lower(): word for word in _WORDS}
    if not set(asked) <= known.keys() or (len(asked) > 1 and not set(asked) <= set(_PARTS)):
        raise review.fail(
            series.key,
            f"role {words!r} is not known.",
            f"Use one of {', '.join(_WORDS)}, or magnitude+phase.",
        )
    there = set(components)
    if set(asked) <= set(_PARTS):
        if len(there) == 1 and len(asked) == 1:
            only: Component = next(part for part in get_args(Component) if part == asked[0])
            return "gradient-echo", (only,) * len(components)
        if not set(asked) <= there:
            raise review.fail(
                series.key,
                f"role {words!r}, but it holds {' and '.join(sorted(there))}.",
                "Name one of these.",
            )
        return "gradient-echo", tuple(c if c in asked else None for c in components)
    role: Role = next(r for r in get_args(Role) if r == known[asked[0]])
    special = _COMPONENT_OF.get(role, "magnitude")
    alone = len(there) == 1
    return role, tuple("magnitude" if c == "magnitude" and not alone else special for c in components)


Describe = Callable[[str], tuple[str, str, str]]
"""From a series' key to its status, what it became, and why."""


def rows_of(
    series: Sequence[Series],
    types: Mapping[str, SeriesType],
    review: Review,
    describe: Describe,
) -> list[dict[str, str]]:
    """Rows of the table: the series of this run, then those of earlier runs that it did not see."""
    rows = []
    for one in series:
        status, became, reason = describe(one.key)
        cells = review.computed[one.key] | review.edits.get(one.key, {})
        rows.append(
            {
                "series": one.key,
                **cells,
                "status": status,
                "became": became,
                "reason": reason,
                "confidence": "edited" if one.key in review.edits else types[one.key].confidence,
                "files": str(len(one.files)),
                "images": str(len(one.stacks)),
                "slices": " ".join(dict.fromkeys(str(stack.n_slices) for stack in one.stacks)),
                "echo_times_ms": " ".join(f"{1000 * time:g}" for time in one.echo_times),
                "description": one.scan.description,
                "protocol": one.scan.protocol,
                "acquired": one.acquired.isoformat(" ", "seconds") if one.acquired else "",
                "scanner": f"{one.scan.manufacturer} {one.scan.model}".strip(),
            }
        )
    seen = {one.key for one in series}
    return rows + [row for key, row in review.old_rows.items() if key not in seen]


def write_review(review: Review, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write the table and what is to be remembered.

    A workbook that the user edited stays as it is; the table beside it is written as text, and is the newer
    of the two from then on.
    """
    path = Path(f"{review.stem}.tsv")
    saved_labels = review.saved_labels
    write_json(
        state_file(review.stem),
        {"computed": review.computed, "subjects": saved_labels.subjects, "sessions": saved_labels.sessions},
    )
    write_table(path, COLUMNS, rows)
    return path
