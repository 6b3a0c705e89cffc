import pytest

from qsmxt_app.errors import UnusableData
from qsmxt_app.segment.regions import Region, read_regions, regions_table


def test_a_table_reads_back(tmp_path):
    regions = (Region(3, "putamen", "L", "nucleus"), Region(8, "brainstem"))
    path = tmp_path / "dseg.tsv"
    path.write_text(regions_table(reversed(regions)))
    assert read_regions(path) == regions
    assert regions_table(regions).splitlines()[2] == "8\tbrainstem\tn/a\tn/a\tn/a"


def test_sides_are_read_from_names_where_no_column_tells_them(tmp_path):
    path = tmp_path / "dseg.tsv"
    path.write_text(
        "index\tname\tcolor\n0\tbackground\t#000\n10\tLeft-Thalamus\t#0f0\n2035\tctx-rh-insula\tn/a\n"
    )
    assert read_regions(path) == (Region(10, "Thalamus", "L"), Region(2035, "ctx-insula", "R"))


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "not a table of labels"),
        ("number\tname\n1\tx\n", "not a table of labels"),
        ("index\tname\none\tx\n", "'one' is not an integer"),
        ("index\tname\n1\tx\n1\ty\n", "is used for two regions"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    path = tmp_path / "dseg.tsv"
    path.write_text(text)
    with pytest.raises(UnusableData, match=said):
        read_regions(path)
