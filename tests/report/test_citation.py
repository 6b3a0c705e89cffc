import json
import re
from pathlib import Path

import pytest
from report_data import Outputs

from qsmxt_app.records.group import GROUP_RECORD
from qsmxt_app.records.scan import Inputs, ScanRecord
from qsmxt_app.report import write_citations


def test_files_hold_the_text_and_just_its_references(outputs: Outputs) -> None:
    outputs.add("sub-01_run-1")
    paths = write_citations(outputs.folder)
    assert [path.relative_to(outputs.folder).as_posix() for path in paths] == [
        "logs/CITATION.md",
        "logs/CITATION.html",
        "logs/CITATION.bib",
    ]
    markdown, page, bibliography = (path.read_text(encoding="utf-8") for path in paths)
    dois = set(re.findall(r"doi = \{(.*?)\}", bibliography))
    assert "10.1016/j.neuroimage.2015.02.041" in dois
    assert "10.1002/mrm.23000" not in dois
    assert set(re.findall(r"https://doi\.org/([^)\s]+)", markdown)) == dois
    assert set(re.findall(r'href="https://doi\.org/([^"]+)"', page)) == dois
    assert "(Langkammer et al., 2015)" in markdown


def test_acquisitions_with_the_same_methods_share_a_paragraph(outputs: Outputs) -> None:
    for subject in ("01", "02", "03"):
        outputs.add(f"sub-{subject}", maps={})
        path = outputs.folder / f"sub-{subject}/figures/sub-{subject}_desc-qsm_record.json"
        path.write_text(path.read_text().replace('"outputs": {}', '"outputs": {"chi": "x"}'))
    path.write_text(path.read_text().replace('"mask": "phase-quality"', '"mask": "magnitude"'))
    text = write_citations(outputs.folder)[0].read_text(encoding="utf-8")
    assert text.count("Susceptibility maps were computed") == 2
    assert "(sub-01, sub-02)" in text
    assert "(sub-03)" in text


def test_failed_acquisitions_are_not_described(outputs: Outputs) -> None:
    outputs.add("sub-01", maps={}, change=lambda content: content.update(status="failed"))
    text = write_citations(outputs.folder)[0].read_text(encoding="utf-8")
    assert "Susceptibility maps were computed" not in text


def test_the_text_can_be_written_before_a_run(tmp_path: Path) -> None:
    planned = [
        ScanRecord(stem=stem, settings={"two_pass": False}, inputs=Inputs(echo_times=tuple(times)))
        for stem, times in (("sub-01", [0.004, 0.01]), ("sub-02", [0.004, 0.01]), ("sub-03", [0.02]))
    ]
    text = write_citations(tmp_path, planned)[0].read_text(encoding="utf-8")
    assert "TGV-QSM (Langkammer et al., 2015)" in text
    assert "(sub-01, sub-02)" in text
    assert "(sub-03)" in text
    assert "Stewart" not in text


def test_the_group_level_has_its_own_paragraph_and_references(outputs: Outputs) -> None:
    outputs.add("sub-01")
    assert "avants2008" not in write_citations(outputs.folder)[2].read_text()
    path = outputs.folder / GROUP_RECORD
    path.parent.mkdir()
    template = {
        "name": "study", "existing": "", "participants": {"sub-01": [], "sub-02": []},
        "channels": ["magnitude"], "voxel_size": [1, 1, 2], "rounds": [{}, {}, {}],
    }  # fmt: skip
    path.write_text(json.dumps({"template": template, "software": {"antspyx": "0.6.1"}}))
    written = write_citations(outputs.folder)
    text = written[0].read_text(encoding="utf-8")
    assert "(group level)" in text
    assert "A template was built from 2 participants with voxels of 1 × 1 × 2 mm³" in text  # noqa: RUF001
    assert "3 rounds" in text
    assert "antspyx" not in text
    assert {"avants2008", "avants2010", "joshi2004", "mattes2003"} <= set(
        re.findall(r"@article\{(\w+)", written[2].read_text())
    )
    record = {"template": template, "software": {"antspyx": "0.6.1"}, "settings": {"registration": "syn"}}
    path.write_text(json.dumps(record))
    assert "by SyN of ANTs (antspyx 0.6.1)" in write_citations(outputs.folder)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "cited"),
    [
        ({"correction": "fdr"}, {"seabold2010", "benjamini1995", "shapiro1965"}),
        ({"correction": "holm", "mixed": True}, {"seabold2010", "holm1979", "laird1982", "shapiro1965"}),
    ],
)
def test_the_model_of_regional_values_is_described(outputs: Outputs, change: dict, cited: set[str]) -> None:
    outputs.add("sub-01")
    path = outputs.folder / GROUP_RECORD
    path.parent.mkdir()
    model = {
        "formula": "r2star ~ group + age", "measure": "r2star", "value": "median", "doubtful": "exclude",
        "regions": 28, "scans": 30, "participants": 24, "references": {"group": "[@control]"}, **change,
    }  # fmt: skip
    before = set(re.findall(r"@\w+\{(\w+)", write_citations(outputs.folder)[2].read_text()))
    path.write_text(json.dumps({"model": model}))
    written = write_citations(outputs.folder)
    text = written[0].read_text(encoding="utf-8")
    assert "of 28 regions in 30 scans of 24 participants" in text
    assert "by the formula r2star ~ group + age. Reference levels were group: [ @control]." in text
    assert set(re.findall(r"@\w+\{(\w+)", written[2].read_text())) - before == cited


def test_names_cannot_bring_html_into_the_text(outputs: Outputs) -> None:
    outputs.add(
        "sub-01",
        maps={},
        change=lambda content: content.update(
            outputs={"chi": "x"}, software={"qsmxt": "<script>alert(1)</script>"}
        ),
    )
    for path in write_citations(outputs.folder):
        assert "<script" not in path.read_text(encoding="utf-8")
