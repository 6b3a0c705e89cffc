import json

import numpy as np
import pytest
from report_data import Outputs, head

from qsmxt_app.report.participant import build_participant_report
from qsmxt_app.report.quality import KINDS, Measure, measure_quality, read_quality, write_quality
from qsmxt_app.report.scan_record import Record, read_record

REGIONS = (
    ("frontal-white-matter", "L", -0.030), ("frontal-white-matter", "R", -0.030), ("putamen", "L", 0.060),
    ("putamen", "R", 0.050), ("globus-pallidus-external", "L", 0.130),
    ("globus-pallidus-external", "R", 0.100), ("caudate", "L", 0.045), ("caudate", "R", 0.043),
    ("hippocampus", "L", 0.300), ("hippocampus", "R", 0.0),
)  # fmt: skip


def write_stats(folder, rows=REGIONS, voxels=200):
    lines = ["index\tname\themisphere\tmap\tn_voxels\tmedian\tp25\tp75"]
    for index, (name, side, median) in enumerate(rows, 1):
        lines.append(f"{index}\t{name}\t{side}\tchi\t{voxels}\t{median}\t{median - 0.01}\t{median + 0.01}")
        lines.append(f"{index}\t{name}\t{side}\tr2star\t{voxels}\t20\t18\t22")
    (folder / "sub-01" / "anat" / "sub-01_run-1_desc-qsm_stats.tsv").write_text("\n".join(lines) + "\n")
    return {"stats": "sub-01/anat/sub-01_run-1_desc-qsm_stats.tsv"}


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "out")


def found(outputs, path):
    return {one.kind.name: one for one in measure_quality(outputs.folder, read_record(path))}


def test_every_kind_is_measured_or_said_to_be_missing(outputs):
    measures = found(outputs, outputs.add())
    assert list(measures) == list(KINDS)
    assert measures["mask_volume"].value == 1450
    # 1 rad at the mean echo time of 12 ms, over 0.21 Hz
    assert measures["phase_snr"].value == pytest.approx(1 / (2 * np.pi * 0.012 * 0.21))
    assert measures["chi_noise"].value == pytest.approx(0.0115, abs=0.003)
    assert measures["chi_noise"].note == "in the most homogeneous tissue"
    assert measures["streaking"].value == pytest.approx(1, abs=0.3)
    assert measures["mirror_asymmetry"].value is None
    assert measures["mirror_asymmetry"].state == "none"
    # the last of the recorded changes over the tolerance of 0.001
    assert measures["convergence"].value == pytest.approx(np.exp(-400 / 55) / 1e-3)
    assert measures["convergence"].state == "good"


def test_nuclei_are_compared_with_their_mirror_image(outputs):
    path = outputs.add()
    content = json.loads(path.read_text())
    content["outputs"] |= write_stats(outputs.folder)
    path.write_text(json.dumps(content))
    asymmetry = found(outputs, path)["mirror_asymmetry"]
    # of 0.01, 0.03 and 0.002; the hippocampus is no nucleus of iron
    assert asymmetry.value == pytest.approx(0.01)
    assert asymmetry.note == "of 3 pairs"


def test_white_matter_is_used_where_it_is_labelled(outputs):
    maps = head()
    labels = np.where(maps["mask"] > 0, 9, 0)
    labels[10:18, 10:30, 8:24] = 2
    noisy = maps["chi"] + np.where(labels == 2, np.random.default_rng(1).normal(0, 0.04, labels.shape), 0)
    path = outputs.add(maps={**maps, "chi": noisy, "dseg": labels})
    table = outputs.folder / "sub-01" / "anat" / "sub-01_run-1_desc-dseg.tsv"
    table.write_text("index\tname\themisphere\n2\tcerebral white matter\tL\n9\tcortex\tn/a\n")
    noise = found(outputs, path)["chi_noise"]
    assert noise.note == "in white matter"
    assert noise.value == pytest.approx(0.04, abs=0.005)
    assert noise.state == "look"


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("mask_volume", 100, "bad"), ("mask_volume", 200, "look"), ("mask_volume", 1500, "good"),
        ("mask_volume", 10_000, "bad"), ("phase_snr", 50, "good"), ("phase_snr", 3, "bad"),
        ("streaking", 2, "look"), ("streaking", 9, "bad"), ("registration_cost", -1.1, "good"),
        ("registration_cost", -1.005, "bad"),
        ("streaking", None, "none"),
    ],
)  # fmt: skip
def test_values_are_held_against_limits_that_are_shown(name, value, state):
    measure = Measure(KINDS[name], value)
    assert measure.state == state
    assert bool(measure.good) == (KINDS[name].limits is not None)


def test_other_parts_of_the_body_have_no_expected_volume(outputs):
    path = outputs.add(change=lambda record: record["settings"].update(preset="body"))
    assert found(outputs, path)["mask_volume"].state == "none"


def test_a_crop_inside_the_head_may_be_small(outputs):
    maps = {name: np.where(image == 0, 1e-3, image) for name, image in head().items()}
    path = outputs.add(maps=maps, change=lambda record: record["mask"].update(volume_ml=23.0))
    volume = found(outputs, path)["mask_volume"]
    assert (volume.value, volume.state, volume.note) == (23.0, "none", "of a crop inside the head")


def test_what_is_written_is_read_back_and_shown(outputs):
    record = read_record(outputs.add())
    path = write_quality(outputs.folder, record)
    assert path.name == "sub-01_run-1_desc-qsm_quality.json"
    assert path.parent == outputs.folder / "sub-01" / "anat"
    assert read_quality(outputs.folder, record) == measure_quality(outputs.folder, record)
    written = json.loads(path.read_text())["measures"]["hole_fraction"]
    assert (written["value"], written["limits"], written["state"]) == (0.03, [0.25, 0.5], "good")
    page = build_participant_report(outputs.folder, "01").read_text()
    assert "Holes of the mask" in page
    assert "up to 0.25 (bad above 0.5)" in page


@pytest.mark.parametrize(
    "content", ["", "[]", '{"measures": 3}', '{"measures": {"a": {"value": "x", "limits": [1]}}}']
)
def test_a_damaged_file_shows_no_measures_and_fails_nothing(outputs, content):
    record = read_record(outputs.add())
    (outputs.folder / "sub-01" / "anat" / "sub-01_run-1_desc-qsm_quality.json").write_text(content)
    assert all(measure.value is None for measure in read_quality(outputs.folder, record))


def test_without_a_map_nothing_is_written(outputs):
    assert write_quality(outputs.folder, Record(stem="sub-01")) is None
    assert read_quality(outputs.folder, Record(stem="sub-01")) == ()
