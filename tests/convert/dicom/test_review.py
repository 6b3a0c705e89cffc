"""The review table: what the user edits wins, the rest is computed again."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest
from dicom_writer import DicomSeries, echoes, gradient_echo, localiser, phase_difference, t1w, write_all
from sorting import images_of, review_rows, sort_folder

from qsmxt_app.convert.dicom.sorted_series import SortedSeries
from qsmxt_app.errors import UnusableData

SHAPE = (8, 6, 4)
TIMES = (0.004, 0.008)
MAGNITUDE, PHASE = echoes(SHAPE, TIMES)


def scan(**options: object) -> list[DicomSeries]:
    magnitude, phase = gradient_echo("siemens", MAGNITUDE, PHASE, TIMES, **options)
    return [
        replace(magnitude, description="mag", protocol="gre"),
        replace(phase, description="pha", protocol="gre"),
    ]


def edit(output: Path, description: str, **cells: str) -> None:
    path = output / "conversion.tsv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    for row in rows:
        if row["description"] == description:
            row.update(cells)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    values = MAGNITUDE[..., 0]
    series = [localiser("siemens", values), t1w("siemens", values), *scan(number=5)]
    write_all(tmp_path / "in", series)
    sort_folder(tmp_path / "in", tmp_path / "out")
    return tmp_path / "in", tmp_path / "out"


def roles(ready: SortedSeries) -> list[list[str]]:
    return [sorted({m.component for m in one.members}) for one in ready.grouped.plan]


def test_the_table_says_what_each_series_is_and_becomes(folders: tuple[Path, Path]) -> None:
    rows = review_rows(folders[1])
    assert {name: (row["role"], row["status"], row["files"]) for name, row in rows.items()} == {
        "localizer": ("localiser", "left out", "4"),
        "t1_mprage_sag": ("T1w", "converted", "4"),
        "mag": ("magnitude", "converted", "8"),
        "pha": ("phase", "converted", "8"),
    }
    assert all(row["reason"] and row["confidence"] in {"high", "medium", "low"} for row in rows.values())
    assert rows["mag"]["echo_times_ms"] == "4 8"


def test_running_again_changes_no_byte(folders: tuple[Path, Path]) -> None:
    source, output = folders
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    sort_folder(source, output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_a_series_that_the_user_skips_is_left_out(folders: tuple[Path, Path]) -> None:
    edit(folders[1], "t1_mprage_sag", role="skip")
    for _ in range(3):
        ready = sort_folder(*folders)
        assert roles(ready) == [["magnitude", "phase"]]
        row = review_rows(folders[1])["t1_mprage_sag"]
        assert (row["role"], row["status"], row["reason"]) == ("skip", "left out", "left out in this table")
    edit(folders[1], "t1_mprage_sag", role="")
    assert len(sort_folder(*folders).grouped.plan) == 2, "an emptied cell is computed again"


def test_labels_and_runs_of_the_user_win(folders: tuple[Path, Path]) -> None:
    for name in ("mag", "pha"):
        edit(folders[1], name, subject="sub-X", session="pre", acquisition="fine", run="3")
    ready = sort_folder(*folders)
    (one,) = [one for one in ready.grouped.plan if one.members[0].suffix == "MEGRE"]
    assert (one.subject, one.session, one.acquisition, one.run) == ("X", "pre", "fine", 3)
    assert len(one.members) == 4


def test_what_was_left_out_can_be_asked_for(folders: tuple[Path, Path]) -> None:
    edit(folders[1], "localizer", role="T1w")
    ready = sort_folder(*folders)
    assert sorted(one.members[0].suffix for one in ready.grouped.plan) == ["MEGRE", "T1w", "T1w"]
    edit(folders[1], "localizer", role="", suffix="UNIT1")
    ready = sort_folder(*folders)
    assert sorted(one.members[0].suffix for one in ready.grouped.plan) == ["MEGRE", "T1w", "UNIT1"]


def test_a_phase_can_be_declared(tmp_path: Path) -> None:
    magnitude, phase = scan()
    silent = replace(phase, image_type=("ORIGINAL", "PRIMARY", "OTHER"), description="what")
    write_all(tmp_path / "in", [magnitude, silent])
    sort_folder(tmp_path / "in", tmp_path / "out")
    edit(tmp_path / "out", "what", role="phase")
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert roles(ready) == [["magnitude", "phase"]]
    assert review_rows(tmp_path / "out")["what"]["confidence"] == "edited"


def test_one_part_of_a_mixed_series_can_be_chosen(tmp_path: Path) -> None:
    write_all(tmp_path / "in", gradient_echo("philips", MAGNITUDE, PHASE, TIMES, description="both"))
    sort_folder(tmp_path / "in", tmp_path / "out")
    assert review_rows(tmp_path / "out")["both"]["role"] == "magnitude+phase"
    edit(tmp_path / "out", "both", role="magnitude")
    assert roles(sort_folder(tmp_path / "in", tmp_path / "out")) == [["magnitude"]]


def test_a_workbook_is_read(folders: tuple[Path, Path]) -> None:
    source, output = folders
    with (output / "conversion.tsv").open(newline="") as stream:
        lines = list(csv.reader(stream, delimiter="\t"))
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append([("skip" if cell == "T1w" else cell) for cell in line])
    book.save(output / "conversion.xlsx")
    assert roles(sort_folder(source, output)) == [["magnitude", "phase"]]


def test_scans_that_arrive_later_change_no_edit_and_no_earlier_row(folders: tuple[Path, Path]) -> None:
    source, output = folders
    edit(output, "pha", acquisition="mine")
    edit(output, "mag", acquisition="mine")
    sort_folder(source, output)
    before = review_rows(output)
    later = [replace(one, description=f"{one.description}2") for one in scan(number=5, date="20240601")]
    write_all(source / "later", later)
    sort_folder(source, output)
    after = review_rows(output)
    assert {name: after[name] for name in before} == before
    assert after["mag2"]["session"] == "02"
    sort_folder(source / "later", output)
    assert review_rows(output) == after, "rows of series that a run does not see stay"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"role": "phaze"}, "role 'phaze' is not known"),
        ({"role": "phase"}, ""),
        ({"role": "magnitude+T1w"}, "is not known"),
        ({"role": "magnitude+phase"}, "but it holds magnitude"),
        ({"suffix": "bold"}, "suffix 'bold' is not known"),
        ({"run": "two"}, "run 'two' is not a number"),
        ({"run": "0"}, "run '0' is not a number"),
        ({"subject": "a/../b"}, "subject 'a/../b' is not a valid label"),
        ({"session": "1 2"}, "session '1 2' is not a valid label"),
        ({"series": ""}, "the series is not named"),
    ],
)
def test_edits_that_cannot_be_followed_are_one_clear_line(
    folders: tuple[Path, Path], cells: dict[str, str], words: str
) -> None:
    edit(folders[1], "mag", **cells)
    if not words:
        sort_folder(*folders)
        return
    with pytest.raises(UnusableData) as error:
        sort_folder(*folders)
    line = str(error.value)
    assert words in line and "conversion.tsv: row 4" in line and "\n" not in line and error.value.hint


def test_a_table_without_its_column_or_with_a_row_twice_is_refused(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "conversion.tsv"
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(UnusableData, match="listed twice"):
        sort_folder(*folders)
    path.write_text(text.replace("series\t", "file\t", 1))
    with pytest.raises(UnusableData, match="no column named series"):
        sort_folder(*folders)


def test_a_phase_difference_may_only_become_phase_by_the_users_word(tmp_path: Path) -> None:
    magnitudes, difference = phase_difference("siemens", MAGNITUDE, PHASE, TIMES)
    write_all(tmp_path / "in", [replace(magnitudes, description="m"), replace(difference, description="d")])
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert [image[0] for image in images_of(ready.grouped.plan[0])] == [
        "magnitude1",
        "magnitude2",
        "phasediff",
    ]
    edit(tmp_path / "out", "d", role="phase", acquisition="mine")
    edit(tmp_path / "out", "m", role="magnitude", acquisition="mine")
    assert roles(sort_folder(tmp_path / "in", tmp_path / "out")) == [["magnitude", "phase"]]


def test_every_file_is_in_the_list_once(folders: tuple[Path, Path]) -> None:
    source, output = folders
    (source / "notes.txt").write_text("hello")
    sort_folder(source, output)
    with (output / "conversion_files.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert sorted(row["file"] for row in rows) == sorted(
        str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()
    )
    counted = {
        row["series"]: sum(r["series"] == row["series"] for r in rows) for row in rows if row["series"]
    }
    assert counted == {row["series"]: int(row["files"]) for row in review_rows(output).values()}
    assert all(row["reason"] and row["status"] in {"converted", "left out"} for row in rows)
