"""A table of results that grows row by row on disk."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


class Table:
    """Rows of text, printed and appended to a TSV file; rows that are there already are not made again.

    Parameters
    ----------
    path
        The file, or None to print only.
    keys
        Columns that say what a row is about.
    columns
        All columns.

    Raises
    ------
    ValueError
        The file has other columns.
    """

    def __init__(self, path: Path | None, keys: Sequence[str], columns: Sequence[str]) -> None:
        self.path, self.keys, self.columns = path, tuple(keys), tuple(columns)
        self.rows: list[dict[str, str]] = []
        if path is not None and path.exists():
            with path.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream, delimiter="\t")
                if tuple(reader.fieldnames or ()) != self.columns:
                    raise ValueError(f"{path} has other columns: name another file")
                self.rows = list(reader)

    def has(self, about: Mapping[str, str]) -> bool:
        """Whether there is a row about this."""
        return any(all(row[key] == about[key] for key in self.keys) for row in self.rows)

    def add(self, row: Mapping[str, str]) -> None:
        """Append a row, complete or not at all."""
        self.rows.append({column: row[column] for column in self.columns})
        if self.path is not None:
            new = not self.path.exists()
            with self.path.open("a", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, self.columns, delimiter="\t", lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(self.rows[-1])
        self.show(self.rows[-1])

    def show(self, row: Mapping[str, str] | None = None) -> None:
        """Print a row, or the header."""
        cells = row or {column: column for column in self.columns}
        print(
            "  ".join(f"{cells[column]:>{max(len(column), 7)}}" for column in self.columns).rstrip(),
            flush=True,
        )
