import dataclasses
from typing import Any

import pytest
from report_data import SHAPE, record

from qsmxt_app.records.scan import MapChecks, parse_record
from qsmxt_app.report.findings import find

GOOD_FACTS = MapChecks(chi_spread=0.03, mask_voxels=1000, edge_fraction={"left": 0.0, "top": 0.0})


def titles(facts: MapChecks = GOOD_FACTS, **changes: Any) -> list[tuple[str, str]]:
    content = record("sub-01", {})
    content["inputs"] |= {"voxel_size": [1.0, 1.0, 1.0], "shape": SHAPE}
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
    record_of_it = dataclasses.replace(parse_record(content), checks=facts)
    return [(item.level, f"{item.title} {item.text}") for item in find(record_of_it)]


def test_a_good_acquisition_gives_no_finding() -> None:
    assert titles() == []


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"warnings": ["Echo 3 has no phase. It was left out."]}, "warning", "Echo 3 has no phase."),
        ({"errors": [{"step": "tgv", "message": "killed"}]}, "error", "“tgv” failed killed"),
        ({"status": "failed"}, "error", "failed"),
        ({"inversion": {"converged": False, "iterations": 30}}, "warning", "stopped after 30 iterations"),
        ({"mask": {"volume_ml": 90.0}}, "warning", "90 ml"),
        ({"mask": {"volume_ml": 9000.0}}, "warning", "9000 ml"),
        ({"mask": {"hole_fraction": 0.4}}, "warning", "40%"),
        ({"field": {"trusted_fraction": 0.3}}, "warning", "30%"),
        ({"inputs": {"echo_times": [4.0, 12.0]}}, "warning", "seconds"),
        ({"inputs": {"echo_times": [0.00002]}}, "warning", "not plausible"),
        ({"inputs": {"bipolar": True}}, "note", "bipolar"),
        ({"inputs": {"voxel_size": [1.0, 1.0, 3.0]}}, "note", "3 mm"),
        ({"inputs": {"voxel_size": [0.4, 0.4, 1.5]}}, "note", "one direction"),
        ({"inputs": {"obliquity_degrees": 20.0}}, "note", "20°"),
    ],
)
def test_each_problem_is_named(changes: dict[str, Any], level: str, words: str) -> None:
    found = titles(**changes)
    assert any(kind == level and words in text for kind, text in found), found


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (MapChecks(chi_spread=0.0), "warning", "flat"),
        (MapChecks(chi_spread=2.0), "warning", "not tissue"),
        (MapChecks(not_finite=7), "error", "7 voxels"),
        (MapChecks(mask_voxels=0), "error", "empty"),
        (MapChecks(edge_fraction={"top": 0.4, "left": 0.0}), "note", "(top)"),
    ],
)
def test_what_the_volumes_show_is_named(facts: MapChecks, level: str, words: str) -> None:
    assert [(kind, words in text) for kind, text in titles(facts)] == [(level, True)]


def test_the_most_serious_comes_first() -> None:
    errors = [{"step": "x", "message": "e"}]
    found = titles(MapChecks(edge_fraction={"top": 1.0}), warnings=["w"], errors=errors)
    assert [level for level, _ in found] == ["error", "warning", "note"]


def test_a_crop_inside_the_head_may_be_small() -> None:
    sides = ("left", "right", "front", "back", "top", "bottom")
    facts = MapChecks(chi_spread=0.03, mask_voxels=1000, edge_fraction=dict.fromkeys(sides, 1.0))
    assert [level for level, _ in titles(facts, mask={"volume_ml": 23.0})] == ["note"]


def test_other_bodies_than_heads_may_have_any_volume() -> None:
    assert titles(mask={"volume_ml": 9000.0}, settings={"preset": "body"}) == []


def test_measures_that_the_quality_table_calls_poor_are_counted() -> None:
    def measure(title: str, state: str) -> dict[str, Any]:
        return {
            "value": 1.0, "units": "1", "limits": [1, 2], "state": state, "title": title, "description": "x",
        }  # fmt: skip

    quality = {"a": measure("Noise", "bad"), "b": measure("Streaking", "look"), "c": measure("Holes", "bad")}
    ((level, words),) = titles(quality=quality)
    assert level == "warning"
    assert words.startswith("Poor quality: Noise, Holes")


def test_missing_files_are_named() -> None:
    content = record("sub-01", {})
    found = find(parse_record(content), ["sub-01/chi.nii.gz"])
    assert any(one.level == "warning" and "sub-01/chi.nii.gz" in one.title for one in found)
