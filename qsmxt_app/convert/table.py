"""Tables that users review and fill in: tab- or comma-separated text, or a workbook."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.small_file import read_small_bytes
from qsmxt_app.errors import NoInput, UnusableData

EXTENSIONS = (".tsv", ".csv", ".xlsx")
MAXIMUM_CELLS = 20_000_000

_FORMULA = re.compile(r"'*[=+\-@]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


@dataclass(frozen=True)
class Table:
    """A table as read: its file, its columns, and a mapping from column to text for each row."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def newest_table(stem: Path) -> Path | None:
    """Find ``stem`` as .tsv, .csv or .xlsx: of several, the one that was saved last."""
    found = [path for path in (Path(f"{stem}{extension}") for extension in EXTENSIONS) if path.is_file()]
    # max() keeps the first of equals: a workbook saved in the same moment is the edited one
    return max(reversed(found), key=lambda path: path.stat().st_mtime_ns, default=None)


def read_table(path: Path) -> Table:
    """Read a table with a header line; the format follows from the name.

    Returns
    -------
    Table
        Cells are text without surrounding blanks; those of a short row are empty. Column names are in lower
        case with underscores, as ``Echo time`` may have become on the way.

    Raises
    ------
    NoInput
        If the file does not exist or cannot be read.
    UnusableData
        If it is not a table, or two columns have one name.
    """
    try:
        lines = _workbook(path) if path.suffix.lower() == ".xlsx" else _text(path)
    except OSError as error:
        raise NoInput(f"{path}: cannot be read ({error.strerror}).", "Check the file.") from error
    filled = [line for line in lines if any(line)]
    if not filled:
        raise UnusableData(f"{path}: an empty table.", "Remove it to have it written again.")
    columns = tuple("_".join(name.lower().split()) for name in filled[0])
    while columns and not columns[-1]:
        columns = columns[:-1]
    if len(set(columns)) < len(columns):
        raise UnusableData(f"{path}: two columns have the same name.", "Rename or remove one.")
    rows = tuple(
        {name: line[index] if index < len(line) else "" for index, name in enumerate(columns)}
        for line in filled[1:]
    )
    return Table(path, columns, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    r"""Write a tab-separated table, whole or not at all; one with the same content is left alone.

    No cell can break its line or become a formula in a spreadsheet: control characters, quotes and
    backslashes are written as ``\x0a`` and the like, and a cell that would start a formula gets an apostrophe
    in front.
    `read_table` undoes both.
    """
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    write_text(path, "".join("\t".join(map(_protected, line)) + "\n" for line in lines))


def _text(path: Path) -> list[list[str]]:
    content = read_small_bytes(path)
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableData(f"{path}: not text in UTF-8.", "Save it as UTF-8, or as .xlsx.") from error
    delimiter = _delimiter(text.partition("\n")[0])
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UnusableData(f"{path}: not a table ({error}).", "Save it again as .tsv or .xlsx.") from error
    for number, line in enumerate(lines, start=1):
        if any("\n" in cell for cell in line):
            raise UnusableData(
                f"{path}: row {number} has a quotation mark without its partner.", "Remove it."
            )
    return [[_plain(cell) for cell in line] for line in lines]


def _delimiter(header: str) -> str:
    """Tell what separates the cells from the header: the extension is not always true."""
    return max("\t,;", key=header.count)


def _workbook(path: Path) -> list[list[str]]:
    # half a second that a run without a workbook should not wait for
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        if (sheet.max_row or 0) * (sheet.max_column or 0) > MAXIMUM_CELLS:
            raise UnusableData(f"{path}: too large for a table.", "Save it again as .tsv.")
        lines = [[_plain(_cell_text(cell)) for cell in row] for row in sheet.iter_rows(values_only=True)]
        book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise UnusableData(f"{path}: not a workbook.", "Save it again as .xlsx or .tsv.") from error
    return lines


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    # a workbook has no whole numbers: echo 1 comes back as 1.0
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _protected(cell: str) -> str:
    last = len(cell) - 1
    escaped = "".join(_escaped(character, at_edge=index in {0, last}) for index, character in enumerate(cell))
    return f"'{escaped}" if _FORMULA.match(escaped) and not _NUMBER.fullmatch(escaped) else escaped


def _escaped(character: str, *, at_edge: bool) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable() and character != '"' and not (at_edge and character == " "):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain(cell: str) -> str:
    text = cell.strip()
    if text.startswith("'") and _FORMULA.match(text[1:]):
        text = text[1:]
    return _ESCAPED.sub(lambda match: "\\" if match[1] == "\\" else chr(int(match[1][1:], 16)), text)
