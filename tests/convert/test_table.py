import os

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsmxt_app.convert.table import newest_table, read_table, write_table
from qsmxt_app.errors import UnusableData

COLUMNS = ("file", "note")
NASTY = [
    "=1+1",
    "+49 30",
    "-3",
    "@x",
    "'=1",
    "a\tb",
    "a\nb",
    'say "x',
    "\\x41",
    " edge ",
    "\x1b[31m",
    "Zoë",
    "\udcff",
]


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1))
def test_any_text_comes_back(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("table") / "table.tsv"
    rows = [{"file": file, "note": note} for file, note in cells]
    write_table(path, COLUMNS, rows)
    assert list(read_table(path).rows) == rows


@pytest.mark.parametrize("cell", NASTY)
def test_no_cell_breaks_its_line_or_becomes_a_formula(tmp_path, cell):
    path = tmp_path / "table.tsv"
    write_table(path, COLUMNS, [{"file": cell, "note": cell}])
    header, line, rest = path.read_bytes().decode().split("\n")
    assert (header, rest) == ("file\tnote", "")
    written = line.split("\t")
    assert len(written) == 2 and line.isprintable() is ("\t" not in line)
    assert all(part == "-3" or part[0] not in "=+-@" for part in written)
    assert read_table(path).rows == ({"file": cell, "note": cell},)


def test_formats_that_people_save_are_all_read(tmp_path):
    expected = (
        {"file": "a.nii", "echo_time": "0.004", "run": "1"},
        {"file": "b, c.nii", "echo_time": "", "run": ""},
    )
    (tmp_path / "tabs.tsv").write_text('file\tEcho time\trun\na.nii\t0.004\t1\n"b, c.nii"\n\n')
    (tmp_path / "commas.csv").write_text('\ufefffile,echo_time,run,,\na.nii,0.004,1,,\n"b, c.nii",,,,\n')
    (tmp_path / "semicolons.csv").write_bytes(
        "file;echo_time;run\r\na.nii;0.004;1\r\nb, c.nii;;\r\n".encode("utf-16")
    )
    book = openpyxl.Workbook()
    for line in (["file", "echo_time", "run"], ["a.nii", 0.004, 1.0], ["b, c.nii", None, None]):
        book.active.append(line)
    book.save(tmp_path / "book.xlsx")
    for path in tmp_path.iterdir():
        assert read_table(path).rows == expected, path.name


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.xlsx", b"PK no workbook", "not a workbook"),
        ("t.tsv", b"", "empty table"),
        ("t.tsv", b"file\tnote\n\xff\xfa", "not text in UTF-8"),
        ("t.tsv", b"file\tFile\na\tb\n", "same name"),
        ("t.tsv", b'file\tnote\n"a\tb\nc\td\n', "row 2"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnusableData, match=says) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_the_table_saved_last_is_taken(tmp_path):
    stem = tmp_path / "table"
    assert newest_table(stem) is None
    for age, extension in ((30, ".tsv"), (20, ".xlsx"), (10, ".csv")):
        path = tmp_path / f"table{extension}"
        path.write_text("file\n")
        os.utime(path, (1e9 - age, 1e9 - age))
        assert newest_table(stem) == path
