"""Tables as text that spreadsheets, R and pandas read the same way."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import UnusableData
from qsmxt_app.terminal import printable

# A cell that begins with one of these is run as a formula by spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MISSING = {"n/a", "na", "nan", "none", "inf", "-inf"}


NOT_KNOWN = "n/a"
MOST_COLUMNS = 5000
"""Columns of a table: large studies have some thousands, and each is repeated for every region of a scan."""


def read_tsv_file(path: Path) -> list[dict[str, str]]:
    """Read a BIDS table, as `read_tsv`; one that does not exist has no rows.

    Raises
    ------
    UnusableData, NoInput
        As `read_small`; also if it is no table, or has more columns than `MOST_COLUMNS`.
    """
    if not path.exists():
        return []
    text = read_small(path, "replace")
    columns = text.partition("\n")[0].count("\t") + 1
    if columns > MOST_COLUMNS:
        raise UnusableData(f"{path}: {columns} columns; at most {MOST_COLUMNS} are read.", "Remove some.")
    try:
        return read_tsv(text)
    except csv.Error as error:
        raise UnusableData(f"{path}: not a table ({error}).", "Correct the file.") from error


def read_tsv(text: str) -> list[dict[str, str]]:
    r"""Read a BIDS table; `n/a` and anything but finite numbers become empty, short rows are padded.

    Examples
    --------
    >>> read_tsv("participant_id\tage\nsub-01\t31\nsub-02\tn/a\n")
    [{'participant_id': 'sub-01', 'age': '31'}, {'participant_id': 'sub-02', 'age': ''}]
    """
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = [[cell.strip() for cell in line] for line in lines if any(cell.strip() for cell in line)]
    if not rows:
        return []
    header = rows[0]
    return [
        {name: _present(cell) for name, cell in zip(header, row + [""] * len(header), strict=False) if name}
        for row in rows[1:]
    ]


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Write rows as comma-separated values; a cell that a row does not have is empty.

    A byte order mark, which spreadsheets need to recognise UTF-8 and base R takes for a part of the first
    name, is written only where there is a character beyond ASCII.

    Parameters
    ----------
    columns
        Names, in their order.
    rows
        Name to text.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([harmless(name) for name in columns])
    for row in rows:
        writer.writerow([harmless(row.get(name, "")) for name in columns])
    text = stream.getvalue()
    return text if text.isascii() else f"\ufeff{text}"


def harmless(cell: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula; numbers stay as they are.

    Examples
    --------
    >>> harmless("-0.05"), harmless("=1+1")
    ('-0.05', "'=1+1")
    """
    text = " ".join(cell.replace("\0", "").split()) if any(ord(char) < 32 for char in cell) else cell
    text = printable(text)
    risky = cell.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if risky and not _NUMBER.fullmatch(text) else text


def tsv_cell(value: object) -> str:
    r"""Write a value as a BIDS table has it.

    Examples
    --------
    >>> tsv_cell(0.12345678), tsv_cell(float("nan")), tsv_cell("two\nlines"), tsv_cell("")
    ('0.123457', 'n/a', 'two lines', 'n/a')
    """
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else NOT_KNOWN
    return " ".join(str(value).split()) or NOT_KNOWN


def _present(cell: str) -> str:
    return "" if cell.lower() in _MISSING else cell
