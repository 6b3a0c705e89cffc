import csv
import io

import numpy as np
import pandas as pd

from qsmxt_app.group.csv_text import csv_text, harmless, read_tsv
from qsmxt_app.group.tables import COLUMNS, assemble, scan_rows

STATS = (
    "index\tname\themisphere\tmap\tn_voxels\tvolume_mm3\tmean\tstd\tmedian\tmad\tp05\tp25\tp75\tp95\tmin\tmax\t"
    "in_mask_fraction\tatlas\treference\tunits\n"
    "1\tputamen\tL\tchi\t12\t96\t{chi}\t0.01\t0.05\t0.01\t0\t0\t0.1\t0.1\t0\t0.1\t1\tqsmxt\tmean\tppm\n"
    "2\tputamen\tR\tchi\t0\t0\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\t0\tqsmxt\tmean\tppm\n"
    "1\tputamen\tL\tr2star\t12\t96\t30\t1\t30\t1\t28\t29\t31\t32\t27\t33\t1\tqsmxt\tn/a\t1/s\n"
)


def rows(chi: float, **entities: str) -> list[dict[str, str]]:
    return scan_rows(entities, read_tsv(STATS.format(chi=chi)))


def test_columns_are_those_that_were_promised() -> None:
    promised = (
        "participant_id session_id acquisition run atlas region hemisphere map n_voxels volume_mm3 mean std "
        "median mad p05 p25 p75 p95 min max in_mask_fraction confidence doubt reference units"
    )
    assert [column for column in COLUMNS if column != "index"] == promised.split()


def test_tidy_table_reads_back_with_people_and_missing_values() -> None:
    people = read_tsv(
        "participant_id\tage\tsex\tmean\nsub-02\t31\tF\tx\nsub-01\tn/a\tM\ty\nsub-09\t5\tM\tz\n"
    )
    tables = assemble([*rows(-0.05, sub="02", run="1"), *rows(0.04, sub="01", ses="A")], people)
    table = pd.read_csv(io.StringIO(tables.tidy), dtype={"run": "Int64"})
    assert list(table.participant_id.unique()) == ["sub-01", "sub-02"]
    left = table[
        (table.participant_id == "sub-02") & (table.hemisphere == "L") & (table["map"] == "chi")
    ].iloc[0]
    assert (left["mean"], left.age, left.sex, left.run, left.region) == (-0.05, 31, "F", 1, "putamen")
    assert pd.isna(left.session_id)
    # a column of participants.tsv never replaces one of ours
    assert left.participant_mean == "x"
    right = table[(table.hemisphere == "R") & (table.participant_id == "sub-01")].iloc[0]
    assert right.n_voxels == 0
    assert pd.isna(right["mean"])
    assert pd.isna(right.age)
    assert ",n/a," not in tables.tidy


def test_wide_table_has_a_row_a_scan_and_a_column_a_region() -> None:
    found = [
        *rows(0.04, sub="01", ses="A"),
        *rows(0.05, sub="01", ses="B"),
        *rows(0.06, sub="02", acq="hr", ses="A"),
        {**rows(0.07, sub="03")[0], "region": "red nucleus", "index": "3"},
    ]
    table = pd.read_csv(io.StringIO(assemble(found).wide))
    assert list(table.columns) == [
        "participant_id", "session_id", "acquisition", "run",
        "chi_putamen_L", "chi_putamen_R", "chi_red_nucleus_L", "r2star_putamen_L",
    ]  # fmt: skip
    assert table.participant_id.tolist() == ["sub-01", "sub-01", "sub-02", "sub-03"]
    np.testing.assert_allclose(table.chi_putamen_L, [0.04, 0.05, 0.06, np.nan])
    assert table.chi_putamen_R.isna().all()


def test_two_atlases_do_not_share_a_column() -> None:
    found = [*rows(0.04, sub="01"), {**rows(0.09, sub="01")[0], "atlas": "mine"}]
    wide = next(csv.DictReader(io.StringIO(assemble(found).wide)))
    assert (wide["chi_qsmxt_putamen_L"], wide["chi_mine_putamen_L"]) == ("0.04", "0.09")


def test_sessions_go_before_participants_and_runs_are_in_their_order() -> None:
    sessions = [{"participant_id": "sub-01", "session_id": "ses-B", "age": "42"}]
    people = [{"participant_id": "sub-01", "age": "40"}]
    found = [*rows(1, sub="01", ses="B", run="10"), *rows(1, sub="01", ses="B", run="2"), *rows(1, sub="01")]
    wide = list(csv.DictReader(io.StringIO(assemble(found, people, sessions).wide)))
    assert [(row["session_id"], row["run"], row["age"]) for row in wide] == [
        ("", "", "40"), ("ses-B", "2", "42"), ("ses-B", "10", "42"),
    ]  # fmt: skip


def test_other_entities_keep_scans_apart() -> None:
    table = assemble([*rows(1, sub="01", rec="norm"), *rows(2, sub="01")]).wide
    assert [row["other"] for row in csv.DictReader(io.StringIO(table))] == ["", "rec-norm"]


def test_formulas_are_harmless_and_numbers_are_numbers() -> None:
    assert harmless("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert harmless("@SUM(A1)") == "'@SUM(A1)"
    assert harmless("\t=1+1") == "'=1+1"
    assert harmless(" =1+1") == "' =1+1"
    assert harmless("-0.5e-3") == "-0.5e-3"
    assert harmless("-abc") == "'-abc"
    assert harmless("two\nlines") == "two lines"
    text = assemble(rows(1, sub="01"), [{"participant_id": "sub-01", "=cmd()": "+1-1"}]).tidy
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert "'=cmd()" in cells
    assert "'+1-1" in cells


def test_quotes_commas_and_umlauts_survive() -> None:
    text = csv_text(["name"], [{"name": 'Zürich, "west"'}])
    assert text.startswith("\ufeff")
    assert pd.read_csv(io.BytesIO(text.encode())).name[0] == 'Zürich, "west"'
    assert csv_text(["name"], [{"name": "plain"}]) == "name\nplain\n"


def test_damaged_tables_read_as_far_as_they_go() -> None:
    assert read_tsv("") == []
    assert read_tsv("\ufeffparticipant_id\tage\r\nsub-01\r\n\r\n") == [
        {"participant_id": "sub-01", "age": ""}
    ]
    assert read_tsv('a\tb\n"x\ty\n') == [{"a": '"x', "b": "y"}]
    assert assemble([]).wide == "participant_id,session_id,acquisition,run\n"
