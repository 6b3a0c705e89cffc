"""What the cells of a row say, understood: labels, numbers and words of BIDS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from qsmxt_app.bids.entities import without_prefix
from qsmxt_app.bids.timing import FIELD_RANGE, LONGEST_ECHO_TIME
from qsmxt_app.convert.converted_image import Part, Suffix
from qsmxt_app.convert.naming import legal_label
from qsmxt_app.convert.nifti.patterns import PARTS, SUFFIXES
from qsmxt_app.convert.nifti.table import GRADIENT_ECHOES, Row
from qsmxt_app.errors import UnusableData


@dataclass(frozen=True, eq=False)
class Described:
    """What a row says, understood.

    Attributes
    ----------
    row
        The row.
    subject, session, acquisition, reconstruction
        Legal labels.
    run, echo
        Numbers, or None.
    part, suffix
        Words of BIDS.
    echo_times
        In seconds; several for the volumes of a 4D file, and for a phase difference.
    field_strength
        In tesla, or None.
    """

    row: Row
    subject: str
    session: str | None
    acquisition: str | None
    reconstruction: str | None
    run: int | None
    echo: int | None
    part: Part | None
    suffix: Suffix
    echo_times: tuple[float, ...]
    field_strength: float | None

    @property
    def name(self) -> str:
        """The file, for messages."""
        return self.row.file.name

    @property
    def scan(self) -> tuple[object, ...]:
        """What all files of an acquisition share."""
        kind = "fieldmap" if self.suffix not in GRADIENT_ECHOES and "T1" not in self.suffix else self.suffix
        return self.subject, self.session, self.acquisition, self.reconstruction, self.run, kind


def check_subjects(rows: Sequence[Row]) -> None:
    """Refuse subjects whose names differ but would get the same label.

    Raises
    ------
    UnusableData
        Naming both.
    """
    texts: dict[str, str] = {}
    for row in rows:
        text = row.cells.get("subject", "").removeprefix("sub-")
        label = legal_label(text).lower()
        if row.ignored or not text:
            continue
        if texts.setdefault(label, text) != text:
            raise UnusableData(
                f"subjects {texts[label]!r:.80} and {text!r:.80} would both be sub-{legal_label(text)}.",
                "Rename one in the column 'subject'.",
            )


def understand(row: Row) -> Described:
    """Understand the cells of a row.

    Raises
    ------
    UnusableData
        Naming the file and the cell.
    """
    suffix = _word(row, "suffix", SUFFIXES)
    part = _word(row, "part", PARTS)
    times = _echo_times(row)
    subject = _label(row, "subject", "sub")
    if subject is None or suffix is None:
        raise UnusableData(f"{row.file.name}: no subject or suffix.", "Fill them in.")
    return Described(
        row=row,
        subject=subject,
        session=_label(row, "session", "ses"),
        acquisition=_label(row, "acquisition", "acq"),
        reconstruction=_label(row, "reconstruction", "rec"),
        run=_index(row, "run"),
        echo=_index(row, "echo") if suffix in GRADIENT_ECHOES else None,
        part=cast("Part | None", part if suffix in GRADIENT_ECHOES or part == "phase" else None),
        suffix=cast("Suffix", suffix),
        echo_times=times,
        field_strength=_field_strength(row),
    )


def _label(row: Row, entity: str, key: str) -> str | None:
    text = row.cells.get(entity, "").removeprefix(f"{key}-")
    if not text:
        return None
    label = legal_label(text)
    if not label:
        raise UnusableData(f"{row.file.name}: {entity} {text!r:.80} has no letter or digit.", "Rename it.")
    return without_prefix(key, label)


def _word(row: Row, entity: str, words: Sequence[str]) -> str | None:
    text = row.cells.get(entity, "")
    if not text:
        return None
    word = next((word for word in words if word.lower() == text.lower()), None)
    if word is None:
        raise UnusableData(
            f"{row.file.name}: {entity} {text!r:.80} is not one of {', '.join(words)}.", "Correct it."
        )
    return word


def _index(row: Row, entity: str) -> int | None:
    numbers = _numbers(row, entity)
    if not numbers:
        return None
    if len(numbers) > 1 or not numbers[0].is_integer() or numbers[0] < 1:
        raise UnusableData(
            f"{row.file.name}: {entity} {row.cells[entity]!r:.80} is not a positive whole number.",
            "Correct it.",
        )
    return int(numbers[0])


def _echo_times(row: Row) -> tuple[float, ...]:
    times = _numbers(row, "echo_time")
    for time in times:
        if not 0 < time <= LONGEST_ECHO_TIME:
            hint = f"Write {time / 1000:g}." if time > 1 else "Correct it."
            raise UnusableData(f"{row.file.name}: echo_time {time:g} is not an echo time in seconds.", hint)
    return times


def _field_strength(row: Row) -> float | None:
    if not (given := _numbers(row, "field_strength")):
        return None
    if not FIELD_RANGE[0] <= given[0] <= FIELD_RANGE[1]:
        raise UnusableData(
            f"{row.file.name}: field_strength {given[0]:g} is not a field strength in tesla.", "Correct it."
        )
    return given[0]


def _numbers(row: Row, entity: str) -> tuple[float, ...]:
    """Numbers with blanks or semicolons between; a comma is a decimal comma."""
    text = row.cells.get(entity, "").strip("[]")
    try:
        numbers = tuple(float(word.rstrip(",").replace(",", ".")) for word in text.replace(";", " ").split())
    except ValueError:
        numbers = (math.nan,)
    if not all(math.isfinite(number) for number in numbers):
        raise UnusableData(
            f"{row.file.name}: {entity} {text!r:.80} is not a number.", "Separate several by blanks."
        )
    return numbers
