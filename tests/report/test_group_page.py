"""The page of the group, from tables and records alone."""

import base64
import hashlib
import io
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from lxml import html
from PIL import Image
from report_data import GROUP_HEAD, Outputs, group_record, group_table, head, ras_affine

from qsmxt_app.errors import NoInput
from qsmxt_app.records.group import read_group_record
from qsmxt_app.report.study.page import build_group_report
from qsmxt_app.report.study.panels import template_panel
from qsmxt_app.report.study.values import group_names, outliers, read_values, summarise

PEOPLE = {f"sub-{n:02d}": 0.05 + 0.002 * (n % 5) for n in range(1, 12)}


def test_outlier_is_named_with_a_link_and_nobody_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    group_table(out, {**PEOPLE, "sub-12": 0.2})
    group_record(out)
    for person in ("sub-11", "sub-12"):
        (out / person).mkdir()
        (out / f"{person}.html").write_text("")
    page = build_group_report(out).read_text()
    section = page[page.index('id="outliers"') :]
    section = section[: section.index("</section>")]
    assert '<a href="sub-12.html">sub-12</a>' in section
    assert "putamen left" in section
    assert "sub-11" not in section


def test_scan_that_does_not_lie_upon_the_template_is_named(tmp_path: Path) -> None:
    group_table(tmp_path, PEOPLE)
    group_record(tmp_path, outputs={"similarity": {"sub-01": 0.93, "sub-02": 0.2, "sub-03": None}})
    page = build_group_report(tmp_path).read_text()
    assert set(re.findall(r"(sub-\d+) is poorly aligned with the template", page)) == {"sub-02"}


def test_values_split_by_a_column_and_leave_out_what_is_missing(tmp_path: Path) -> None:
    values = read_values(group_table(tmp_path, PEOPLE), "sex")
    (summary,) = summarise(values)
    ((region,),) = summary.kinds.values()
    (side,) = region.sides
    assert {group: len(found) for group, found in side.values.items()} == {"F": 6, "M": 5}
    assert side.cells[:2] == ("putamen left", "11")


def test_many_numbers_become_thirds_and_many_words_one_group() -> None:
    thirds = group_names([str(age) for age in range(20, 80)])
    assert len(set(thirds.values())) == 3
    assert thirds["20"] == thirds["38"] != thirds["42"] != thirds["79"]
    assert set(group_names([f"city {letter}" for letter in "abcdefgh"]).values()) == {"all"}
    assert group_names(["a", "", "b"])[""] == "not known"


def test_few_scans_have_no_outlier(tmp_path: Path) -> None:
    few = dict(list(PEOPLE.items())[:3])
    assert outliers(read_values(group_table(tmp_path, {**few, "sub-12": 9.0}), "")) == []


def test_nothing_is_called_good_that_was_not_tested(tmp_path: Path) -> None:
    group_record(tmp_path)
    group_table(tmp_path, dict(list(PEOPLE.items())[:3]))
    page = build_group_report(tmp_path).read_text()
    assert "nothing can be called an outlier" in page
    assert 'class="fine"' not in page
    group_table(tmp_path, PEOPLE)
    assert "in each of 1 regions and maps, no value lies" in build_group_report(tmp_path).read_text()


def strips(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<li class="strip"><span>([^<]+)</span>(.*?)</li>', page, re.DOTALL)


def test_deep_grey_matter_is_first_and_both_sides_share_a_row(tmp_path: Path) -> None:
    group_record(tmp_path)
    regions = [
        ("insula", 1035, "L"),
        ("brainstem", 16, ""),
        ("red-nucleus", 304, "R"),
        ("red-nucleus", 354, "L"),
    ]
    rows = [
        f"sub-0{n},,,,qsmxt,{index},{name},{side},chi,{0.01 * n},ppm,F,30\n"
        for n in range(1, 5)
        for name, index, side in regions
    ]
    (tmp_path / "group_stats.csv").write_text(GROUP_HEAD + "".join(rows))
    page = build_group_report(tmp_path).read_text()
    shown, *folded = page[page.index('<section id="values">') :].split("<details>")
    ((name, drawing),) = strips(shown)
    assert name == "red nucleus"
    # circles are left, squares right
    assert (drawing.count("<circle"), drawing.count("<rect")) == (4, 4)
    assert 'aria-label="left median 0.025 ppm of 4, right median 0.025 ppm of 4"' in drawing
    assert [[name for name, _ in strips(part)] for part in folded[:2]] == [["brainstem"], ["insula"]]


def test_of_many_scans_those_that_stand_alone_are_drawn(tmp_path: Path) -> None:
    group_record(tmp_path)
    people = {f"sub-{n:03d}": 0.05 + 0.0001 * (n % 21) for n in range(400)}
    group_table(tmp_path, {**people, "sub-999": 0.2})
    ((_, drawing),) = strips(build_group_report(tmp_path).read_text())
    assert drawing.count("<circle") == 1
    place = re.search(r'<circle cx="([\d.]+)%', drawing)
    assert place
    assert float(place[1]) > 95


def test_scans_are_counted_by_group_and_verdict(outputs: Outputs) -> None:
    out = outputs.folder
    outputs.add("sub-01", maps={})
    outputs.add("sub-02", maps={}, change=lambda content: content.update(warnings=["Look."]))
    groups = {"sub-01": "control", "sub-02": "patient", "sub-03": "patient"}
    missing = [{"participant": "03", "scan": "sub-03", "reason": "it moved"}]
    group_record(out, group_by="group", groups=groups, missing=missing)
    tree = html.fromstring(build_group_report(out).read_bytes())
    (table,) = tree.xpath("//section[contains(@class, 'verdict')]//table")
    cells = [[" ".join(cell.text_content().split()) for cell in row] for row in table.xpath(".//tr")]
    assert cells == [
        ["group", "Participants", "Usable", "Look first", "Left out"],
        ["control", "1", "1", "0", "0"],
        ["patient", "2", "0", "1", "1"],
    ]
    assert tree.xpath("//section[contains(@class, 'verdict')]//span/text()") == ["look first"]
    assert tree.xpath("//ul[@class='worst']/li/text()") == [
        "1 scan or participant is left out", "Of 2 scans: 1 look first",
    ]  # fmt: skip


def test_average_maps_end_with_the_brain(tmp_path: Path) -> None:
    anat = tmp_path / "tpl-study" / "anat"
    anat.mkdir(parents=True)
    volumes = head()
    volumes["chi"][volumes["mask"] == 0] = -1.0
    for name, key in (("desc-brain_mask", "mask"), ("Chimap", "chi"), ("T2starw", "magnitude")):
        nib.Nifti1Image(volumes[key], ras_affine()).to_filename(anat / f"tpl-study_{name}.nii.gz")
    group_record(tmp_path, template={"name": "study"})
    record = read_group_record(tmp_path)
    assert record
    panel = template_panel(tmp_path, record)
    assert panel
    chi, magnitude = panel.views
    outside = [picture_corner(view.rows[0][0].image) for view in (chi, magnitude)]
    assert outside[0] == 0
    assert outside[1] > 0


def picture_corner(uri: str) -> int:
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
    return int(np.asarray(image.convert("L"))[:3, :3].max())


def test_only_the_script_of_the_page_may_run(tmp_path: Path) -> None:
    group_table(tmp_path, PEOPLE)
    group_record(tmp_path)
    page = build_group_report(tmp_path).read_text()
    allowed = re.search(r"script-src '(sha256-[^']+)'", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert allowed
    assert allowed[1] == "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    group_table(tmp_path, PEOPLE, region="<script>alert(1)</script>")
    hostile = "<img src=x onerror=alert(1)>"
    missing = [{"participant": "01", "scan": hostile, "reason": hostile, "log": hostile}]
    group_record(
        tmp_path,
        missing=missing,
        template={"name": hostile, "ended": hostile},
        group_by="sex",
        command=hostile,
    )
    page = build_group_report(tmp_path).read_text()
    assert "<img src=x" not in page
    assert "<script>alert" not in page


def test_damaged_files_do_no_harm(tmp_path: Path) -> None:
    group_record(tmp_path, template={"name": "study", "rounds": ["x", None], "participants": 3}, missing="no")
    (tmp_path / "group_stats.csv").write_bytes(b"\xff\xfe\x00mean\n")
    anat = tmp_path / "tpl-study" / "anat"
    anat.mkdir(parents=True)
    (anat / "tpl-study_Chimap.nii.gz").write_bytes(b"no image")
    assert "<h1>Group</h1>" in build_group_report(tmp_path).read_text()


MODEL = {
    "formula": "chi ~ group", "measure": "chi", "value": "mean", "correction": "fdr", "doubtful": "exclude",
    "table": "group_desc-model_stats.tsv", "units": "ppm", "effects": ["group[patient]"], "regions": 2,
    "differing": {"group[patient]": ["putamen left"]}, "scans": 24, "participants": 24,
    "references": {"group": "control"}, "warnings": ["few in a group"],
}  # fmt: skip
ESTIMATES = (
    "region\themisphere\tterm\testimate\tci_low\tci_high\tp\tp_corrected\teffect_size\teffect_size_kind\tn_scans"
    "\tremarks\n"
    "putamen\tL\tgroup[patient]\t0.02\t0.01\t0.03\t0.001\t0.002\t1.2\tHedges g\t24\tn/a\n"
    "<b>x</b>\tn/a\tgroup[patient]\t0.001\t-0.01\t0.012\t0.8\t0.8\t0.1\tHedges g\t23"
    "\tresiduals are not normal\n"
    "broken\tL\tgroup[patient]\tx\n"
)


def statistics_of(page: str) -> str:
    section = page[page.index('<section id="statistics">') :]
    return section[: section.index("</main>")]


def test_statistics_say_where_an_effect_was_found_and_what_to_keep_in_mind(tmp_path: Path) -> None:
    group_record(tmp_path, model=MODEL)
    (tmp_path / MODEL["table"]).write_text(ESTIMATES)
    section = statistics_of(build_group_report(tmp_path).read_text())
    assert "1 of 2 regions: putamen left" in section
    assert "few in a group" in section
    assert section.count("<strong>") == 1
    assert "<strong>0.002</strong>" in section
    assert "residuals are not normal" in section
    assert "&lt;b&gt;x" in section
    assert "broken" not in section
    assert section.count('<img class="effect"') == 1
    # nothing found is no good news
    assert "fine" not in section


def test_statistics_that_found_nothing_do_not_say_that_there_is_nothing(tmp_path: Path) -> None:
    group_record(tmp_path, model={**MODEL, "differing": {}, "table": "../secret.tsv"})
    section = statistics_of(build_group_report(tmp_path).read_text())
    assert "does not show that there is no effect" in section
    assert "secret" not in section


def test_many_regions_are_folded_away(tmp_path: Path) -> None:
    group_record(tmp_path, model=MODEL)
    head, first, *_ = ESTIMATES.splitlines(keepends=True)
    rows = [first.replace("putamen", f"region {number}") for number in range(45)]
    (tmp_path / MODEL["table"]).write_text("".join([head, *rows]))
    shown, folded = statistics_of(build_group_report(tmp_path).read_text()).split("Further regions")
    assert (shown.count('<img class="effect"'), folded.count('<img class="effect"')) == (1, 2)


def test_pages_without_a_model_have_no_statistics(tmp_path: Path) -> None:
    group_record(tmp_path)
    assert "Statistics" not in build_group_report(tmp_path).read_text()


def test_without_a_run_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="group level"):
        build_group_report(tmp_path)
