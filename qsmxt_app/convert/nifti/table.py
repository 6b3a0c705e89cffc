"""The table of NIfTI files: what was gathered, what the user filled in, and what is still missing.

A copy of what was gathered lies beside the table. A cell that differs from it was filled in by the user and
counts; all others follow what is gathered now. So new files, new JSON and new patterns show up, and nothing
that the user wrote is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.convert.nifti.gather import NiftiFile
from qsmxt_app.convert.nifti.patterns import ENTITIES, IGNORE, PARTS, SUFFIXES
from qsmxt_app.convert.table import Table, newest_table, read_table, write_table
from qsmxt_app.errors import UnusableData

COLUMNS = ("file", *ENTITIES, "note")
MARK = "?"
"""What an empty cell that is needed holds."""

GRADIENT_ECHOES = ("MEGRE", "T2starw")
_ALWAYS = ("subject", "suffix")
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "MEGRE": ("part", "echo_time", "field_strength"),
    "T2starw": ("part", "echo_time", "field_strength"),
    "phasediff": ("echo_time",),
}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, eq=False)
class Row:
    """A file and its cells, filled in as far as they are known."""

    file: NiftiFile
    cells: Mapping[str, str]

    @property
    def ignored(self) -> bool:
        """Whether the file takes no part."""
        return self.cells.get("suffix") == IGNORE

    @property
    def missing(self) -> tuple[str, ...]:
        """Cells that are needed and empty."""
        suffix = self.cells.get("suffix", "")
        if self.ignored or self.file.problem:
            return ()
        return tuple(name for name in (*_ALWAYS, *_NEEDED.get(suffix, ())) if not self.cells.get(name))


@dataclass(frozen=True, eq=False)
class Sheet:
    """The table: rows of the files that are there, and lines of those that are not, kept as they were."""

    stem: Path
    rows: tuple[Row, ...]
    absent: tuple[Mapping[str, str], ...] = ()
    absent_gathered: tuple[Mapping[str, str], ...] = ()

    @property
    def path(self) -> Path:
        """Where the table is written."""
        return self.stem.with_name(f"{self.stem.name}.tsv")


def fill_in(files: Sequence[NiftiFile], stem: Path) -> Sheet:
    """Put together what was gathered and what the user wrote into the table.

    Parameters
    ----------
    files
        From `gather`.
    stem
        Path of the table without its extension.

    Raises
    ------
    UnusableData
        If the table cannot be read, or lacks the column ``file``.
    """
    path = newest_table(stem)
    by_person = _by_file(read_table(path)) if path else {}
    copy = copy_path(stem)
    gathered_before = _by_file(read_table(copy)) if copy.is_file() else {}
    rows = []
    for file in files:
        own = by_person.get(file.name, {})
        before = gathered_before.get(file.name, {})
        edited = {
            name: "" if own[name] == MARK else own[name]
            for name in ENTITIES
            if name in own and own[name] != MARK and not same_value(own[name], before.get(name, ""))
        }
        cells = {**file.cells, **edited}
        rows.append(Row(file, {name: text for name, text in cells.items() if text}))
    present = {file.name for file in files}
    return Sheet(
        stem,
        tuple(rows),
        tuple(row for name, row in by_person.items() if name not in present),
        tuple(row for name, row in gathered_before.items() if name not in present),
    )


def write_sheet(sheet: Sheet, notes: Mapping[str, str]) -> Path:
    """Write the table, pre-filled with all that is known, and the copy of what was gathered.

    Parameters
    ----------
    sheet
        From `fill_in`.
    notes
        By file: what the user should know.
    """
    lines = table_rows(sheet, notes)
    gathered = [{"file": row.file.name, **row.file.cells} for row in sheet.rows]
    write_table(copy_path(sheet.stem), COLUMNS, [*gathered, *sheet.absent_gathered])
    write_table(sheet.path, COLUMNS, [*lines, *sheet.absent])
    return sheet.path


def table_rows(sheet: Sheet, notes: Mapping[str, str]) -> list[dict[str, str]]:
    """Rows of the table, with a mark in each cell that is needed and empty."""
    return [
        {
            "file": row.file.name,
            **row.cells,
            **dict.fromkeys(row.missing, MARK),
            "note": notes.get(row.file.name) or row.file.problem or _needs(row),
        }
        for row in sheet.rows
    ]


def copy_path(stem: Path) -> Path:
    """Where the copy of what was gathered lies."""
    return stem.with_name(f".{stem.name}.gathered.tsv")


def same_value(one: str, other: str) -> bool:
    """Whether two cells say the same, though a spreadsheet may have written 01 as 1 and 0.0040 as 0.004.

    Examples
    --------
    >>> same_value("1", "01"), same_value("0,004", "0.0040"), same_value("a", "b")
    (True, True, False)
    """
    if one == other:
        return True
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    return float(one.replace(",", ".")) == float(other.replace(",", "."))


def _needs(row: Row) -> str:
    if not row.missing:
        return ""
    choices = {
        "suffix": f"{', '.join(SUFFIXES)}; {IGNORE} leaves the file out",
        "part": ", ".join(PARTS),
        "echo_time": "in seconds" + (f", {row.file.volumes} numbers" if row.file.volumes > 1 else ""),
        "field_strength": "in tesla",
    }
    if row.cells.get("suffix") == "phasediff":
        choices["echo_time"] = "in seconds, 2 numbers"
    needed = [f"{name} ({choices[name]})" if name in choices else name for name in row.missing]
    return f"fill in {', '.join(needed)}"


def _by_file(table: Table) -> dict[str, dict[str, str]]:
    if "file" not in table.columns:
        raise UnusableData(
            f"{table.path}: has no column 'file'.", "Restore the header line, or remove the table."
        )
    return {row["file"]: row for row in table.rows}
