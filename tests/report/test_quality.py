import json

import numpy as np
import pytest
from report_data import Outputs, head, ras_affine

from qsmxt_app.records.scan import ScanRecord, read_record
from qsmxt_app.report.participant import build_participant_report
from qsmxt_app.report.rendering import limits_words
from qsmxt_app.workflows.quality import KINDS, check_maps, measure_quality, record_quality

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
    return measure_quality(outputs.folder, read_record(path))


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


def test_the_worse_of_both_passes_and_all_voxels_without_a_good_field_count(outputs):
    path = outputs.add()
    content = json.loads(path.read_text())
    content["inversion_reliable"] = {"history": {"iteration": [10], "chi_change": [0.004]}}
    content["field"] |= {"known_fraction": 0.8, "trusted_fraction": 0.5}
    path.write_text(json.dumps(content))
    measures = found(outputs, path)
    assert measures["convergence"].value == pytest.approx(4)
    assert measures["untrusted_fraction"].value == pytest.approx(0.6)


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
    measure = KINDS[name].measured(value)
    assert measure.state == state
    assert bool(limits_words(measure)) == (KINDS[name].limits is not None)


def test_other_parts_of_the_body_have_no_expected_volume(outputs):
    path = outputs.add(change=lambda record: record["settings"].update(preset="body"))
    assert found(outputs, path)["mask_volume"].state == "none"


def test_a_crop_inside_the_head_may_be_small(outputs):
    maps = {name: np.where(image == 0, 1e-3, image) for name, image in head().items()}
    path = outputs.add(maps=maps, change=lambda record: record["mask"].update(volume_ml=23.0))
    volume = found(outputs, path)["mask_volume"]
    assert (volume.value, volume.state, volume.note) == (23.0, "none", "of a crop inside the head")


def test_what_is_written_is_read_back_and_shown(outputs):
    path = outputs.add()
    record = record_quality(outputs.folder, read_record(path))
    assert read_record(path) == record
    assert record.quality == measure_quality(outputs.folder, record)
    path = outputs.folder / "sub-01" / "anat" / "sub-01_run-1_desc-qsm_quality.json"
    written = json.loads(path.read_text())["measures"]["hole_fraction"]
    assert (written["value"], written["limits"], written["state"]) == (0.03, [0.25, 0.5], "good")
    page = build_participant_report(outputs.folder, "01").read_text()
    assert "Mask holes" in page
    assert "≤ 0.25 (poor above 0.5)" in page


def test_without_a_map_nothing_is_written(outputs):
    record = ScanRecord(stem="sub-01")
    assert record_quality(outputs.folder, record) is record
    assert not list(outputs.folder.rglob("*_quality.json"))


def test_whole_volumes_are_checked_in_the_directions_of_the_head(outputs):
    maps = head()
    maps["mask"][:, :, -1] = 1  # through the top, so that the bottom counts as well
    maps["chi"][3:5, 4, 5] = np.nan
    flipped = {name: volume[::-1] for name, volume in maps.items()}
    affine = ras_affine() @ np.diag([-1, 1, 1, 1])
    affine[0, 3] *= -1
    checks = check_maps(outputs.folder, read_record(outputs.add(maps=flipped, affine=affine)))
    assert checks.edge_fraction == {"left": 0.03125, "right": 0.03125, "back": 0.03125, "front": 0.03125,
                                    "bottom": 0.0, "top": 1.0}  # fmt: skip
    assert checks.not_finite == 2
    assert checks.mask_voxels == np.count_nonzero(maps["mask"])
    values = maps["chi"][np.isfinite(maps["chi"]) & (maps["chi"] != 0)]
    assert checks.chi_spread == pytest.approx(np.diff(np.percentile(values, [25, 75]))[0] / 1.349, rel=1e-4)
