"""What vendors do otherwise than the standard, and how a vendor is added."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import echoes, gradient_echo, write_all
from pydicom.dataset import Dataset
from sorting import sort_folder

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.find import find_dicom
from qsmxt_app.convert.dicom.phase_scaling import phase_scaling
from qsmxt_app.convert.dicom.values import integer, text
from qsmxt_app.convert.dicom.vendors import (
    VENDORS,
    PhaseScaling,
    StoredPhase,
    Vendor,
    is_field_map_sequence,
    vendor_of,
)
from qsmxt_app.convert.dicom.vendors.ge import RAW_DATA_TYPE
from qsmxt_app.convert.dicom.vendors.ge import VENDOR as GE

SHAPE = (8, 6, 4)
TAGS = {"component": 0x00991001, "slices": 0x00991002, "sequence": 0x00991003, "coil": 0x00991004}


def _component(header: Dataset) -> Component | None:
    return {"A": "magnitude", "B": "phase"}.get(text(header, TAGS["component"]))  # type: ignore[return-value]


def _phase_scaling(stored: StoredPhase) -> PhaseScaling | None:
    return PhaseScaling(np.pi / 1000, 0.0, "rad", "a thousandth of pi")


TOY = Vendor(
    name="Toy",
    manufacturers=("TOY",),
    elements=tuple(TAGS.values()),
    sequence_names=(TAGS["sequence"],),
    slices_per_volume=lambda header, mosaic: integer(header, TAGS["slices"]),
    component=_component,
    coil=lambda header: text(header, TAGS["coil"]),
    reconstructions=("TOYNORM",),
    field_map_sequence=re.compile("toymap"),
    phase_scaling=_phase_scaling,
    phase_sign=-1,
    sign_rule="toys turn the other way",
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.setattr("qsmxt_app.convert.dicom.vendors.VENDORS", [*VENDORS, TOY])
    monkeypatch.setattr("qsmxt_app.convert.dicom.header.VENDORS", [*VENDORS, TOY])
    return TOY


def test_a_vendor_that_registers_is_read_sorted_and_scaled(tmp_path: Path, toy: Vendor) -> None:
    magnitude, phase = echoes(SHAPE)
    series = gradient_echo("canon", magnitude, phase, (0.004, 0.008))
    kind = ("ORIGINAL", "PRIMARY", "OTHER", "TOYNORM")
    for letter, one in zip("AB", series, strict=True):
        for path in write_all(tmp_path / "in", [replace(one, image_type=kind)]):
            dataset = pydicom.dcmread(path)
            dataset.Manufacturer = "Toy Scanners"
            block = dataset.private_block(0x0099, "TOY", create=True)
            for element, vr, value in ((1, "CS", letter), (2, "US", 4), (3, "LO", "toygre"), (4, "LO", "T7")):
                block.add_new(element, vr, value)
            dataset.save_as(path)
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert sorted(one.components for one in ready.series) == [("magnitude",), ("phase",)]
    scan, kinds = ready.series[0].scan, ready.series[0].stacks[0].kind
    assert (scan.expected_slices, kinds.coil) == (4, "T7")
    assert scan.technique.endswith("toygre")
    (acquisition,) = ready.grouped.plan
    assert len(acquisition.members) == 4
    assert acquisition.reconstruction == "TOYNORM"
    assert is_field_map_sequence("Toy Scanners", "toymap")
    scaling = phase_scaling(StoredPhase("Toy Scanners", 16, True, 1, 0, -1000, 1000))
    assert scaling == PhaseScaling(-np.pi / 1000, 0.0, "rad", "a thousandth of pi; toys turn the other way")


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
