"""One file and one line of a registry put a panel onto the page."""

from documented_change import copy_with, run_python
from lxml import html
from report_data import Outputs

CODE = """
import sys
from pathlib import Path
from qsmxt_app.report import build_participant_report
build_participant_report(Path(sys.argv[1]), "01", volumes="none")
"""


def test_an_added_panel_is_on_the_page(tmp_path):
    package = copy_with("add-a-panel.md", tmp_path / "copy")
    outputs = Outputs(tmp_path / "out")
    outputs.add("sub-01_run-1")
    outputs.add("sub-01_run-2", maps={})
    run_python(package, "-c", CODE, str(outputs.folder))
    tree = html.fromstring((outputs.folder / "sub-01.html").read_bytes())
    first, second = tree.xpath("//section[@class='acquisition']")
    headings = [heading.text for heading in first.xpath(".//h3")]
    assert headings.index("Percentiles of χ") == headings.index("Susceptibility (χ)") + 1
    assert "No percentiles of χ was recorded." in second.text_content()
