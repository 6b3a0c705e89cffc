"""What the numbers of a label image stand for: BIDS' table of a discrete segmentation."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import UnusableData

COLUMNS = ("index", "name", "hemisphere", "kind", "color")
NOT_KNOWN = "n/a"
HEMISPHERES = ("L", "R", "")


@dataclass(frozen=True)
class Region:
    """One label.

    Attributes
    ----------
    index
        Its number in the image, above 0.
    name
        Without the hemisphere: `putamen`.
    hemisphere
        `L`, `R`, or empty for what lies on both sides.
    kind
        `nucleus`, `cortex`, `white`, ...; empty if not stated.
    color
        As the table of an atlas gives it (`#EC0DB0`); empty if not stated. Not what makes a region.
    """

    index: int
    name: str
    hemisphere: str = ""
    kind: str = ""
    color: str = field(default="", compare=False)


def read_regions(path: Path) -> tuple[Region, ...]:
    """Read a table of labels, in the order of their numbers.

    The columns `index` and `name` are needed; `hemisphere` (or `hemi`), `kind` and `color` may be there. A
    name that tells its side as atlases do (`Left-Putamen`, `ctx-lh-insula`, `Putamen_R`) is taken apart.

    Raises
    ------
    UnusableData
        The file is not such a table, or a number is used for two regions.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_small(path), newline=""), delimiter="\t"))
    except csv.Error as error:
        raise UnusableData(f"{path}: cannot be read as a table ({error}).", "Check the file.") from error
    if not rows or not {"index", "name"} <= rows[0].keys():
        raise UnusableData(
            f"{path}: not a table of labels.", "Columns named index and name, separated by tabs, are needed."
        )
    found: dict[int, Region] = {}
    for row in rows:
        try:
            index = int(row["index"])
        except (TypeError, ValueError) as error:
            message = f"{path}: index {row['index']!r} is not an integer."
            raise UnusableData(message, "Correct it.") from error
        if index in found:
            raise UnusableData(f"{path}: index {index} is used for two regions.", "Correct it.")
        if index > 0:  # 0 is the background, which some tables name
            found[index] = _region(index, row)
    return tuple(found[index] for index in sorted(found))


def regions_table(regions: Iterable[Region]) -> str:
    """Return the text of a table that `read_regions` reads back."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for region in regions:
        told = (region.hemisphere, region.kind, region.color)
        writer.writerow([region.index, region.name, *(cell or NOT_KNOWN for cell in told)])
    return stream.getvalue()


def split_hemisphere(name: str) -> tuple[str, str]:
    """Take the side out of a name.

    Examples
    --------
    >>> split_hemisphere("Left-Putamen")
    ('Putamen', 'L')
    >>> split_hemisphere("ctx-rh-insula")
    ('ctx-insula', 'R')
    >>> split_hemisphere("Brain-Stem")
    ('Brain-Stem', '')
    """
    sides = {"left": "L", "lh": "L", "l": "L", "right": "R", "rh": "R", "r": "R"}
    for separator in ("-", "_", " "):
        words = name.split(separator)
        found = [word for word in words if word.lower() in sides]
        if len(found) == 1 and len(words) > 1:
            words.remove(found[0])
            return separator.join(words), sides[found[0].lower()]
    return name, ""


def _region(index: int, row: dict[str, str]) -> Region:
    def cell(column: str) -> str:
        value = (row.get(column) or "").strip()
        return "" if value.lower() == NOT_KNOWN else value

    name, side = cell("name") or f"region-{index}", (cell("hemisphere") or cell("hemi")).upper()[:1]
    if side not in HEMISPHERES:
        side = ""
    if not side:
        name, side = split_hemisphere(name)
    return Region(index, name, side, cell("kind"), cell("color"))
