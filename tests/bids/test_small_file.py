"""Sidecars and tables are read up to a limit, and only from regular files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qsmxt_app.bids import small_file
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.bids.sidecars import read_json_object
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.convert.inventory import read_rows
from qsmxt_app.convert.table import read_table
from qsmxt_app.errors import CannotCreateOutput, QsmxtError, UnusableData
from qsmxt_app.group.csv_text import MOST_COLUMNS, read_tsv_file
from qsmxt_app.records.json_file import read_json_file
from qsmxt_app.report.study.values import read_values
from qsmxt_app.segment.expected_values import read_regional_values
from qsmxt_app.segment.regions import read_regions

READERS: tuple[Callable[[Path], object], ...] = (
    read_small, read_json_object, read_tsv_file, read_table, read_rows, read_json_file, read_regions,
    read_regional_values, lambda path: read_values(path, ""),
)  # fmt: skip


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_bytes(b"\xef\xbb\xbfa\tb\n")
    assert read_small(tmp_path / "table.tsv") == "a\tb\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        Path.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b"participant_id\t" * 99),
        lambda path: path.write_bytes(b"\x80\x81"),
    ],
    ids=["fifo", "folder", "device", "too large", "not text"],
)
def test_what_no_table_is_ends_at_once_with_a_line_or_reads_as_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Path], object],
    make: Callable[[Path], object],
) -> None:
    monkeypatch.setattr(small_file, "LARGEST_BYTES", 1000)
    path = tmp_path / "table.tsv"
    make(path)
    try:
        assert not read(path)
    except QsmxtError as error:
        assert str(path) in str(error) or read is read_json_file


def test_a_table_of_hundreds_of_thousands_of_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    columns = [f"c{number}" for number in range(MOST_COLUMNS)]
    path.write_text("\t".join(columns) + "\n" + "\t".join("1" for _ in columns) + "\n")
    assert len(read_tsv_file(path)[0]) == MOST_COLUMNS
    path.write_text("\t".join(["participant_id", *columns]) + "\n" + "1\n" * 99)
    with pytest.raises(UnusableData, match=f"{MOST_COLUMNS + 1} columns"):
        read_tsv_file(path)
    path.write_text("participant_id\n" + "x" * 200_000 + "\n")
    with pytest.raises(UnusableData, match="not a table"):
        read_tsv_file(path)
    assert read_tsv_file(tmp_path / "absent.tsv") == []


@pytest.mark.parametrize("makers", ["null", "5", "[7]", '[{"Name": "qsmxt"}, 7]'])
def test_a_description_of_the_output_may_hold_anything(tmp_path: Path, makers: str) -> None:
    (tmp_path / "raw").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    path = out / "dataset_description.json"
    path.write_text(f'{{"DatasetType": "derivative", "GeneratedBy": {makers}}}')
    if "qsmxt" in makers:
        initialise_derivative(out, tmp_path / "raw", "1")
        return
    with pytest.raises(CannotCreateOutput, match="another program"):
        initialise_derivative(out, tmp_path / "raw", "1")
