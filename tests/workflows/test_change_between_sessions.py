"""Change between sessions at the group level, on made-up heads that lie differently in each session."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from group_data import Head, write_dataset, write_scan

from qsmxt_app.cli import main

MM = (4.0, 4.0, 4.0)
Rows = dict[tuple[str, str, str], dict[str, str]]
TURN = float(np.deg2rad(5))


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, str]:
    """Scan one person twice in two years, who gains iron, and another one who does not, without dates."""
    people = {"01": ["ses-A", "ses-B"], "02": ["ses-A", "ses-B"]}
    raw, out = write_dataset(tmp_path_factory.mktemp("change"), people)
    for label, gain in (("01", 0.2), ("02", 0.0)):
        for number, session in enumerate("AB"):
            head = Head(1, 1 + gain * number, lean=TURN * number)
            write_scan(out, {"sub": label, "ses": session}, head, MM, noise=10 * int(label) + number)
    (raw / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tacq_time\nses-A\t2020-01-01T00:00:00\nses-B\t2022-01-01T00:00:00\n"
    )
    assert main([*map(str, (raw, out)), "group", "-q", "--template-rounds", "0"]) == 0
    with (out / "group_desc-change_stats.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    by_region = {(row["participant_id"], row["region"], row["hemisphere"]): row for row in rows}
    return by_region, (out / "group.html").read_text()


def test_the_change_per_year_is_found(changes: tuple[Rows, str]) -> None:
    rows, _ = changes
    nucleus = rows["sub-01", "nucleus", "n/a"]
    assert nucleus["per"] == "year"
    assert float(nucleus["interval"]) == pytest.approx(2, abs=0.01)
    # a fifth of .12 ppm in two years; at the border, voxels hold less of it
    assert float(nucleus["change"]) == pytest.approx(0.2 * float(nucleus["mean"]) / 1.1 / 2, abs=0.001)


def test_nothing_changes_where_only_the_head_lies_differently(changes: tuple[Rows, str]) -> None:
    rows, _ = changes
    found = [row for (person, *_), row in rows.items() if person == "sub-02"]
    assert len(found) == 4
    assert {row["per"] for row in found} == {"session"}
    assert np.std([float(row["change"]) for row in found]) < 0.002
    assert max(abs(float(row["change"])) for row in found) < 0.003


def test_the_page_shows_changes(changes: tuple[Rows, str]) -> None:
    _, page = changes
    section = page[page.index('<section id="change">') :]
    assert "one of 2 participants" in section
    assert "ppm per year" in section
    assert 'href="group_desc-change_stats.tsv"' in page
