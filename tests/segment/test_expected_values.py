import json

import pytest
from report_data import Outputs
from test_quality import REGIONS, write_stats

from qsmxt_app.records.scan import read_record
from qsmxt_app.report.panels.regional_values import regional_findings, regional_values_panel
from qsmxt_app.report.participant import build_participant_report
from qsmxt_app.segment.expected_values import (
    WHITE_MATTER,
    compare,
    expected_values,
    group_of,
    read_regional_values,
)


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "out")


def with_stats(outputs, rows=REGIONS):
    path = outputs.add()
    content = json.loads(path.read_text())
    content["outputs"] |= write_stats(outputs.folder, rows)
    path.write_text(json.dumps(content))
    return read_record(path)


def test_ranges_follow_from_iron_and_the_slope():
    ranges = {region.title: region for region in expected_values()}
    # (21.30 - 6.98 - 4.24) mg/100 g at 0.8 ppb, (21.30 + 6.98 - 4.24) at 1.35 ppb and 0.04 ppm of myelin
    assert ranges["Globus pallidus"].low == pytest.approx(0.08064)
    assert ranges["Globus pallidus"].high == pytest.approx(0.36454)
    assert ranges["Thalamus"].low < 0 < ranges["Caudate nucleus"].low < ranges["Putamen"].low


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("Left-Cerebral-White-Matter", WHITE_MATTER), ("frontal-white-matter", WHITE_MATTER),
        ("cerebellar white matter", ""), ("Right-Thalamus-Proper*", "Thalamus"),
        ("pallidum", "Globus pallidus"),
        ("globus-pallidus-internal", "Globus pallidus"), ("Caudate", "Caudate nucleus"), ("hippocampus", ""),
    ],
)  # fmt: skip
def test_names_of_all_sources_are_understood(name, group):
    assert group_of(name) == group


def test_values_are_compared_relative_to_white_matter(outputs):
    record = with_stats(outputs)
    values = read_regional_values(outputs.folder / record.outputs["stats"])
    compared = compare(values)
    assert [(one.value.name, one.value.hemisphere) for one in compared[:2]] == [
        ("globus-pallidus-external", "L"), ("globus-pallidus-external", "R")
    ]  # fmt: skip
    assert compared[0].median == pytest.approx(0.16)
    assert (compared[0].low, compared[0].high) == (pytest.approx(0.15), pytest.approx(0.17))
    assert all(one.inside for one in compared)
    shifted = compare(
        [type(v)(v.name, v.hemisphere, v.voxels, v.median + 1, v.low + 1, v.high + 1) for v in values]
    )
    assert [one.median for one in shifted] == pytest.approx([one.median for one in compared])
    assert compare([value for value in values if group_of(value.name) != WHITE_MATTER]) == ()


def test_the_page_shows_them_and_says_nothing_of_a_good_map(outputs):
    record = with_stats(outputs)
    panel = regional_values_panel(outputs.folder, record)
    assert panel.table.rows[0] == (
        "Globus pallidus external, left",
        "160",
        "150 to 170",
        "80.6 to 365",
        "inside",
    )
    assert regional_findings(outputs.folder, record) == ()
    assert "Hallgren" in build_participant_report(outputs.folder, "01").read_text()


def test_an_inverted_map_is_recognised(outputs):
    record = with_stats(outputs, [(name, side, -value) for name, side, value in REGIONS])
    (finding,) = regional_findings(outputs.folder, record)
    assert finding.title.startswith("6 of 6 iron-rich nuclei")
    assert "outside" in {row[-1] for row in regional_values_panel(outputs.folder, record).table.rows}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "a\tb\n1\t2\n",
        "index\tname\themisphere\tmap\tn_voxels\tmedian\tp25\tp75\n1\tputamen\tL\tchi\tn/a\tn/a\tn/a\tn/a\n",
    ],
)
def test_a_table_without_values_shows_nothing(outputs, content):
    record = with_stats(outputs)
    (outputs.folder / record.outputs["stats"]).write_text(content)
    assert regional_values_panel(outputs.folder, record) is None
    assert regional_findings(outputs.folder, record) == ()
    assert read_regional_values(None) == ()
