"""Ratings of scans by people, as the pages of participants save them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.group.csv_text import read_tsv_file

RATINGS = ("good", "doubtful", "bad")
FOLDER = "ratings"
"""In the derivative, where ratings are looked for."""


@dataclass(frozen=True)
class Rating:
    """What a person said of a scan."""

    rating: str
    comment: str = ""

    def __str__(self) -> str:
        return f"rated {self.rating}{f': {self.comment}' if self.comment else ''}"


def read_ratings(path: Path) -> dict[str, Rating]:
    """Read the ratings of scans, by the name of the scan.

    Parameters
    ----------
    path
        A table with the columns `scan`, `rating` and perhaps `comment`, or a folder of such tables, ending
        in `.tsv`.

    Raises
    ------
    NoInput
        There is no such file, or no table in the folder.
    UnusableData
        A table without these columns, a rating that is not one of `RATINGS`, or two that contradict.
    """
    tables = sorted(path.glob("*.tsv")) if path.is_dir() else [path]
    if not tables or not all(table.is_file() for table in tables):
        raise NoInput(
            f"{path}: there are no ratings.", "Save them on the participants' pages, or give --ratings."
        )
    found: dict[str, Rating] = {}
    for table in tables:
        for row in read_tsv_file(table):
            scan, rating = row.get("scan", ""), row.get("rating", "")
            if not scan or rating not in RATINGS:
                raise UnusableData(
                    f"{table}: '{rating}' of '{scan}' is no rating of a scan.",
                    f"It needs the columns scan and rating ({', '.join(RATINGS)}).",
                )
            new = Rating(rating, row.get("comment", ""))
            if found.setdefault(scan, new).rating != rating:
                raise UnusableData(f"{table}: {scan} is rated {rating}, and {found[scan].rating} elsewhere.")
    return found


def left_out(ratings: dict[str, Rating], least: str) -> dict[str, Rating]:
    """Return the scans that are rated so, or worse.

    Parameters
    ----------
    ratings
        By scan.
    least
        `bad`, or `doubtful`, which stands for both.
    """
    worse: Collection[str] = RATINGS[RATINGS.index(least) :]
    return {scan: rating for scan, rating in ratings.items() if rating.rating in worse}
