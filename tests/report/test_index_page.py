import base64
import io
import json
from typing import Any

import numpy as np
from lxml import html
from PIL import Image
from report_data import Outputs

from qsmxt_app.report import build_index, build_participant_report, write_citations


def rows(outputs: Outputs) -> dict[str, list[str]]:
    tree = html.fromstring(build_index(outputs.folder).read_bytes())
    cells = ([" ".join(cell.text_content().split()) for cell in row] for row in tree.xpath("//tbody/tr"))
    return {row[0]: row[1:] for row in cells}


def fail(content: dict[str, Any]) -> None:
    content.update(status="failed", errors=[{"step": "tgv", "message": "killed", "log": "x"}])


def test_each_participant_has_its_state(outputs: Outputs) -> None:
    outputs.add("sub-01", maps={})
    outputs.add("sub-02_run-1", maps={})
    outputs.add("sub-02_run-2", maps={}, change=fail)
    outputs.add("sub-03", maps={}, change=fail)
    outputs.add("sub-04", maps={}, change=lambda content: content.update(warnings=["Look. Twice."]))
    (outputs.folder / "sub-05").mkdir()
    assert rows(outputs) == {
        "sub-01": ["usable", "1", "", ""],
        "sub-02": ["1 of 2 failed", "2", "", "The step “tgv” failed"],
        "sub-03": ["failed", "1", "", "The step “tgv” failed"],
        "sub-04": ["look first", "1", "", "Look."],
        "sub-05": ["no record", "0", "", "Nothing was recorded: not run yet, or stopped early."],
    }


def test_everybody_is_counted_and_pictured(outputs: Outputs) -> None:
    quality = {
        name: {"value": 1.0, "units": "1", "limits": None, "state": state, "title": name, "description": "y"}
        for name, state in (("noise", "bad"), ("streaks", "look"), ("residual", "good"))
    }
    outputs.add("sub-01", change=lambda content: content.update(quality=quality))
    outputs.add("sub-02", maps={}, change=fail)
    for subject in ("01", "02"):
        build_participant_report(outputs.folder, subject)
    tree = html.fromstring(build_index(outputs.folder).read_bytes())
    assert tree.xpath("//p[@class='summary']/text()") == ["2 participants: 1 failed, 1 look first."]
    assert rows(outputs)["sub-01"] == [
        "look first", "1", "1 poor, 1 to review", "Poor quality: noise",
    ]  # fmt: skip
    (picture,) = tree.xpath("//tr[th//a/text()='sub-01']//img/@src")
    image = Image.open(io.BytesIO(base64.b64decode(picture.partition("base64,")[2])))
    assert max(image.size) <= 110
    assert np.ptp(np.asarray(image.convert("L"))) > 150
    assert not tree.xpath("//tr[th//a/text()='sub-02']//img")


def test_links_lead_to_pages_that_exist(outputs: Outputs) -> None:
    outputs.add("sub-01", maps={})
    outputs.add("sub-02", maps={})
    build_participant_report(outputs.folder, "01")
    write_citations(outputs.folder)
    links = html.fromstring(build_index(outputs.folder).read_bytes()).xpath("//a[not(@class='skip')]/@href")
    assert set(links) == {"sub-01.html", "logs/CITATION.html"}
    assert all((outputs.folder / link).is_file() for link in links)


def test_an_empty_dataset_has_an_index(outputs: Outputs) -> None:
    tree = html.fromstring(build_index(outputs.folder).read_bytes())
    assert "No participant has outputs yet." in tree.text_content()


def test_a_record_of_a_newer_version_is_named_and_breaks_no_page(outputs: Outputs) -> None:
    path = outputs.add()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    page = build_participant_report(outputs.folder, "01").read_text()
    assert "it is of version 99, and this version of qsmxt reads version 2" in page
    assert "sub-01" in build_index(outputs.folder).read_text()
