"""What vendors do otherwise than the standard, and how a vendor is added."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import echoes, gradient_echo, write_all
from pydicom.dataset import Dataset
from sorting import sort_folder

from qsmxt_app.convert.dicom.find import find_dicom
from qsmxt_app.convert.dicom.phase_scaling import phase_scaling
from qsmxt_app.convert.dicom.vendors import (
    VENDORS,
    PhaseScaling,
    StoredPhase,
    is_field_map_sequence,
    vendor_of,
)
from qsmxt_app.convert.dicom.vendors.ge import RAW_DATA_TYPE
from qsmxt_app.convert.dicom.vendors.ge import VENDOR as GE

PAGE = Path(__file__).parents[3] / "docs" / "contributing" / "add-a-vendor.md"
SHAPE = (8, 6, 4)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the vendor that the page for contributors adds."""
    code = re.search(r"```python title=.*?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    (tmp_path / "toy_vendor.py").write_text(code.group(1), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    VENDORS.append(import_module("toy_vendor").VENDOR)
    yield
    VENDORS.pop()
    sys.modules.pop("toy_vendor")


@pytest.mark.usefixtures("toy")
def test_a_vendor_that_registers_is_read_sorted_and_scaled(tmp_path: Path) -> None:
    magnitude, phase = echoes(SHAPE)
    series = gradient_echo("canon", magnitude, phase, (0.004, 0.008))
    for letter, one in zip("AB", series, strict=True):
        for path in write_all(tmp_path / "in", [replace(one, image_type=("ORIGINAL", "PRIMARY", "OTHER"))]):
            dataset = pydicom.dcmread(path)
            dataset.Manufacturer = "Toy Scanners"
            block = dataset.private_block(0x0099, "TOY", create=True)
            for element, vr, value in ((1, "CS", letter), (2, "US", 4), (3, "LO", "toygre")):
                block.add_new(element, vr, value)
            dataset.save_as(path)
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert sorted(one.components for one in ready.series) == [("magnitude",), ("phase",)]
    scan = ready.series[0].scan
    assert (scan.expected_slices, scan.technique) == (4, "*fl3d2r toygre")
    (acquisition,) = ready.grouped.plan
    assert len(acquisition.members) == 4
    scaling = phase_scaling(StoredPhase("Toy Scanners", 16, True, 1, 0, -1000, 1000))
    rule = "thousandths of pi; sign changed, as Toy's phase falls where the field is higher"
    assert scaling == PhaseScaling(-np.pi / 1000, 0.0, "rad", rule)


def test_the_line_of_the_page_fits_the_registry(tmp_path: Path) -> None:
    change = re.search(r"```diff\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert change
    registry = tmp_path / "qsmxt_app" / "convert" / "dicom" / "vendors" / "__init__.py"
    registry.parent.mkdir(parents=True)
    registry.write_bytes((PAGE.parents[2] / registry.relative_to(tmp_path)).read_bytes())
    (tmp_path / "registry.diff").write_text(change.group(1), encoding="utf-8")
    subprocess.run(["git", "apply", "registry.diff"], cwd=tmp_path, check=True)
    assert "vendors.toy" in registry.read_text(encoding="utf-8")


def test_vendors_are_told_by_how_their_names_begin() -> None:
    names = {
        "SIEMENS": "Siemens",
        "Siemens Healthineers": "Siemens",
        "Philips Medical Systems": "Philips",
        "GE MEDICAL SYSTEMS": "GE",
        "UIH": "UIH",
        "TOSHIBA_MEC": "Canon",
        "CANON_MEC": "Canon",
    }
    assert {name: vendor_of(name).name for name in names} == names
    assert vendor_of("").phase_sign == vendor_of("Esaote").phase_sign == 1


@pytest.mark.parametrize(
    ("value", "component"), [(0, "magnitude"), (1, "phase"), (2, "real"), (3, "imaginary"), (9, None)]
)
def test_ge_numbers_what_its_images_hold(value: int, component: str | None) -> None:
    header = Dataset()
    header.add_new(RAW_DATA_TYPE, "SS", value)
    assert GE.component(header) == component
    header.add_new(RAW_DATA_TYPE, "UN", value.to_bytes(2, "little"))
    assert GE.component(header) == component


def test_an_element_of_one_vendor_says_nothing_in_the_files_of_another(tmp_path: Path) -> None:
    magnitude, phase = echoes(SHAPE)
    (path, *_) = write_all(tmp_path, gradient_echo("siemens", magnitude, phase, (0.004,)))
    before = find_dicom(tmp_path).headers
    dataset = pydicom.dcmread(path)
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 1)
    dataset.save_as(path)
    assert find_dicom(tmp_path).headers == before


def test_a_field_map_sequence_is_known_though_the_manufacturer_was_removed() -> None:
    assert is_field_map_sequence("", "*fm2d2r")
    assert is_field_map_sequence("SIEMENS", "*fm2d2r")
    assert not is_field_map_sequence("GE MEDICAL SYSTEMS", "*fm2d2r")


def test_the_map_comes_first_in_a_field_map_of_ge() -> None:
    assert GE.field_map_instances("B0map", [1, 2, 3, 4]) == {1, 2}
    assert not GE.field_map_instances("EFGRE3D", [1, 2, 3, 4])
