"""The regional values of all participants in one table: tidy, and one column a region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qsmxt_app.group.csv_text import csv_text

Row = Mapping[str, str]

SCAN = ("participant_id", "session_id", "acquisition", "run")
REGION = ("atlas", "index", "region", "hemisphere", "map")
MEASURES = (
    "n_voxels",
    "volume_mm3",
    "mean",
    "std",
    "median",
    "mad",
    "p05",
    "p25",
    "p75",
    "p95",
    "min",
    "max",
    "in_mask_fraction",
)
MEANING = ("confidence", "doubt", "reference", "units")
COLUMNS = (*SCAN, *REGION, *MEASURES, *MEANING)
LEFT_OVER = "other"
"""Column for entities of a scan that have no column of their own, such as `rec-norm`."""
WIDE_VALUE = "mean"
_ENTITY_OF = {"participant_id": "sub", "session_id": "ses", "acquisition": "acq", "run": "run"}
_PREFIXED = ("participant_id", "session_id")


@dataclass(frozen=True)
class GroupTables:
    """Both tables as text, and the number of rows of the tidy one."""

    tidy: str
    wide: str
    rows: int


def scan_rows(entities: Mapping[str, str], stats: Iterable[Row]) -> list[dict[str, str]]:
    """Give the regional values of one scan the columns that say whose they are.

    Parameters
    ----------
    entities
        BIDS entities of the scan: `sub`, `ses`, `acq`, `run`...
    stats
        Rows of its `stats.tsv`.
    """
    whose = {}
    for column, entity in _ENTITY_OF.items():
        label = str(entities.get(entity, ""))
        whose[column] = f"{entity}-{label}" if label and column in _PREFIXED else label
    rest = [f"{key}-{value}" for key, value in entities.items() if key not in _ENTITY_OF.values()]
    if rest:
        whose[LEFT_OVER] = "_".join(rest)
    return [{**row, "region": row.get("name", row.get("region", "")), **whose} for row in stats]


def phenotype_columns(tables: Sequence[Iterable[Row]]) -> dict[str, str]:
    """Name the columns of participants.tsv and sessions.tsv in the result: own ones are never replaced.

    Returns
    -------
    dict
        Column in the source to column in the result, in the order of the source.
    """
    names = dict.fromkeys(name for table in tables for row in table for name in row)
    taken = {*COLUMNS, LEFT_OVER}
    return {
        name: f"participant_{name}" if name in taken else name
        for name in names
        if name not in ("participant_id", "session_id")
    }


def assemble(
    rows: Iterable[Mapping[str, str]],
    participants: Sequence[Row] = (),
    sessions: Sequence[Row] = (),
) -> GroupTables:
    """Put the values of all scans into a tidy table and a wide one.

    Parameters
    ----------
    rows
        From `scan_rows`.
    participants
        Rows of participants.tsv.
    sessions
        Rows of all sessions.tsv, with a `participant_id`; they go before what participants.tsv says.

    Returns
    -------
    GroupTables
        Rows in the order of participant, session, acquisition, run, atlas, map and region. What is not
        known is empty.
    """
    joined = with_phenotypes(rows, participants, sessions)
    joined.sort(key=_order)
    extra = tuple(phenotype_columns([participants, sessions]).values())
    scan = (*SCAN, LEFT_OVER) if any(LEFT_OVER in row for row in joined) else SCAN
    columns = (*scan, *COLUMNS[len(SCAN) :], *extra)
    return GroupTables(csv_text(columns, joined), _wide(joined, (*scan, *extra)), len(joined))


def with_phenotypes(
    rows: Iterable[Mapping[str, str]], participants: Sequence[Row], sessions: Sequence[Row]
) -> list[dict[str, str]]:
    """Give rows of scans the columns of participants.tsv and sessions.tsv, as `assemble` has them."""
    phenotypes = phenotype_columns([participants, sessions])
    people = {row.get("participant_id", ""): row for row in participants}
    visits = {(row.get("participant_id", ""), row.get("session_id", "")): row for row in sessions}
    joined = []
    for row in rows:
        who = row["participant_id"]
        known = {**people.get(who, {}), **_given(visits.get((who, row.get("session_id", "")), {}))}
        joined.append({**row, **{column: known.get(name, "") for name, column in phenotypes.items()}})
    return joined


def _wide(rows: Sequence[Row], fixed: Sequence[str]) -> str:
    """One row a scan, one column a region and map, with the mean."""
    import pandas as pd

    if not rows:
        return csv_text(fixed, ())
    several = len({row.get("atlas", "") for row in rows}) > 1
    names = [_column_name(row, several) for row in rows]
    long = pd.DataFrame(rows, columns=[*fixed, WIDE_VALUE], dtype=str).fillna("")
    long = long.assign(column=names, scan=long.groupby(list(fixed), sort=False).ngroup())
    order = {name: (_region_order(row), name) for name, row in reversed(list(zip(names, rows, strict=True)))}
    wide = long.drop_duplicates(["scan", "column"], keep="last").pivot(index="scan", columns="column")
    values = wide[WIDE_VALUE].reindex(columns=sorted(order, key=order.__getitem__)).fillna("")
    scans = long.drop_duplicates("scan").set_index("scan")[list(fixed)].join(values)
    return csv_text(list(scans.columns), scans.to_dict("records"))


def _column_name(row: Row, several: bool) -> str:
    """Name of a column that R and pandas take as an identifier."""
    parts = [row.get("map", "")]
    if several:
        parts.append(row.get("atlas", ""))
    name, side = row.get("region", ""), row.get("hemisphere", "")
    parts += [name, side]
    return "_".join(filter(None, (re.sub(r"\W+", "_", part, flags=re.ASCII).strip("_") for part in parts)))


def _order(row: Row) -> tuple:
    scan = tuple(_natural(row.get(name, "")) for name in (*SCAN, LEFT_OVER))
    return (*scan, _region_order(row))


def _region_order(row: Row) -> tuple:
    # chi before the maps beside it
    name = row.get("map", "")
    index = row.get("index", "")
    number = int(index) if index.isdecimal() else 0
    return (
        name != "chi",
        name,
        row.get("atlas", ""),
        number,
        row.get("region", ""),
        row.get("hemisphere", ""),
    )


def _natural(label: str) -> tuple:
    """Order run 2 before run 10."""
    return tuple((part.zfill(12) if part.isdecimal() else part) for part in re.split(r"(\d+)", label))


def _given(row: Row) -> dict[str, str]:
    return {name: cell for name, cell in row.items() if cell}
