"""The group level as a whole, on made-up heads with known deformations."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from group_data import CHI, Head, write_dataset, write_record, write_scan
from scipy import ndimage

from qsmxt_app.bids.validation import validate_dataset
from qsmxt_app.cli import main
from qsmxt_app.registration import Image, Transform, apply, load_transform, resample_labels

HEADS = {"01": Head(1, 0.8), "02": Head(2, 1.0), "03": Head(3, 1.2)}
MM = (5.0, 5.0, 5.0)
COARSE = (6.0, 6.0, 6.0)
SCANS = {"sub-01": "sub-01", "sub-02_ses-A": "sub-02/ses-A", "sub-03_acq-hr": "sub-03"}


@dataclass(frozen=True)
class Group:
    """A study, and how its group level ended."""

    raw: Path
    out: Path
    code: int

    def again(self, *arguments: str) -> int:
        return main([str(self.raw), str(self.out), "group", "-q", "--template-rounds", "2", *arguments])

    def copy(self, folder: Path) -> Group:
        """Copy what was read and written, without intermediate files."""
        skip = shutil.ignore_patterns(".work")
        raw, out = folder / "raw", folder / "out"
        return Group(shutil.copytree(self.raw, raw), shutil.copytree(self.out, out, ignore=skip), 0)

    def nodes_run(self) -> set[str]:
        newest = max((self.out / "logs").glob("*/qsmxt.log"), key=lambda path: path.stat().st_mtime_ns)
        lines = newest.read_text(encoding="utf-8").splitlines()
        return {line.split('"')[1].removeprefix("group.") for line in lines if '[Node] Executing "' in line}

    def record(self) -> dict:
        return json.loads((self.out / "figures" / "group_desc-qsm_record.json").read_text())

    def rows(self, name: str = "group_stats.csv") -> list[dict[str, str]]:
        with (self.out / name).open(newline="") as stream:
            return list(csv.DictReader(stream))

    def transforms(self, stem: str, folder: str) -> tuple[Transform, Transform]:
        beside = self.out / folder / "anat"
        there, back = (
            beside / f"{stem}_from-{a}_to-{b}_mode-image_xfm.h5"
            for a, b in (("QSM", "study"), ("study", "QSM"))
        )
        return load_transform(there, back), load_transform(back, there)

    def template(self, name: str) -> nib.Nifti1Image:
        return nib.nifti1.load(self.out / "tpl-study" / "anat" / f"tpl-study_{name}.nii.gz")


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    people = {"01": [], "02": ["ses-A", "ses-B"], "03": [], "04": [], "05": []}
    raw, out = write_dataset(tmp_path_factory.mktemp("group"), people)
    write_scan(out, {"sub": "01"}, HEADS["01"], MM)
    write_scan(out, {"sub": "02", "ses": "A"}, HEADS["02"], (4.5, 5.5, 5.0), noise=1)
    write_scan(out, {"sub": "03", "acq": "hr"}, HEADS["03"], (4.5, 4.5, 4.5))
    error = {"step": "tgv", "message": "not enough memory", "log": "logs/x"}
    write_record(out, {"sub": "04"}, {"status": "failed", "outputs": {}, "errors": [error]})
    drawn = tmp_path_factory.mktemp("drawn") / "sub-01_seg-drawn_dseg.nii.gz"
    shutil.copy(out / "sub-01" / "anat" / "sub-01_seg-truth_dseg.nii.gz", drawn)
    names = drawn.with_name("labels.txt")
    names.write_text(
        '1 9 9 9 1 1 1 "ventricle"\n2 9 9 9 1 1 1 "Left putamen"\n3 9 9 9 1 1 1 "Right putamen"\n'
    )
    arguments = ["--custom-dseg", str(drawn), "--custom-labels", str(names), "--group-by", "group"]
    group = Group(raw, out, 0)
    code = group.again(*arguments)
    return Group(raw, out, code)


def test_ends_well_and_names_who_is_left_out(group: Group) -> None:
    assert group.code == 0, group.record()["failures"]
    missing = {
        one["scan"] or one["participant"]: (one["reason"], one["log"]) for one in group.record()["missing"]
    }
    assert missing["sub-04"] == ("tgv: not enough memory", "logs/x")
    assert "not run" in missing["sub-02_ses-B"][0]
    assert "not run" in missing["05"][0]
    page = (group.out / "group.html").read_text()
    assert "not enough memory" in page
    assert "sub-02_ses-B" in page
    assert "hardly lies upon" not in page


def carried_labels(group: Group, moved: bool) -> dict[str, np.ndarray]:
    """True labels of all scans on the template's grid, by the transforms on disk or as the headers say."""
    like = group.template("Chimap")
    grid = Image(np.asarray(like.dataobj), like.affine).grid
    found = {}
    for stem, folder in SCANS.items():
        truth = nib.nifti1.load(group.out / folder / "anat" / f"{stem}_seg-truth_dseg.nii.gz")
        labels = Image(np.asarray(truth.dataobj, dtype=np.int32), truth.affine)
        transform = group.transforms(stem, folder)[0] if moved else Transform()
        found[stem] = resample_labels(labels, grid, transform).labels.array
    return found


def mean_overlap(labels: dict[str, np.ndarray]) -> float:
    """Mean Dice of all regions over all pairs."""
    return float(
        np.mean(
            [
                2 * ((a == region) & (b == region)).sum() / ((a == region).sum() + (b == region).sum())
                for a, b in combinations(labels.values(), 2)
                for region in CHI
            ]
        )
    )


def test_true_regions_meet_in_the_template(group: Group) -> None:
    before, after = (mean_overlap(carried_labels(group, moved)) for moved in (False, True))
    # 0.84 where the true deformations are known, at these voxels; 0.5 where they lie
    assert after > 0.75
    assert after > before + 0.2


def test_average_chi_is_the_mean_of_the_true_values(group: Group) -> None:
    chi = np.asarray(group.template("Chimap").dataobj)
    labels = carried_labels(group, moved=True)
    agreed = np.stack(list(labels.values()))
    for region, value in CHI.items():
        core = (agreed == region).all(axis=0)
        # partial volume of 5 mm voxels draws every region to its surroundings, of 0 ppm
        assert 0.7 * abs(value) < abs(chi[core].mean()) < 1.05 * abs(value)
        assert np.sign(chi[core].mean()) == np.sign(value)


def test_iron_that_differs_shows_in_the_spread_and_nowhere_else(group: Group) -> None:
    spread = np.asarray(group.template("desc-std_Chimap").dataobj)
    agreed = np.stack(list(carried_labels(group, moved=True).values()))
    nucleus = spread[(agreed == 4).all(axis=0)].mean()
    # 0.8, 1 and 1.2 times 0.12 ppm
    assert nucleus == pytest.approx(0.024, rel=0.35)
    tissue = np.median(
        spread[(agreed == 0).all(axis=0) & (np.asarray(group.template("desc-count_Chimap").dataobj) == 3)]
    )
    assert tissue < nucleus / 4


def test_maps_are_resampled_once_inside_their_mask(group: Group) -> None:
    stem, folder = "sub-03_acq-hr", "sub-03"
    there, _ = group.transforms(stem, folder)
    anat = group.out / folder / "anat"
    chi, mask = (nib.nifti1.load(anat / f"{stem}_{name}.nii.gz") for name in ("Chimap", "desc-qsm_mask"))
    like = group.template("Chimap")
    grid = Image(np.asarray(like.dataobj), like.affine).grid
    known = apply(Image(np.asarray(mask.dataobj, float), mask.affine), grid, there).array
    values = apply(Image(np.asarray(chi.dataobj, float), chi.affine), grid, there, "bspline").array
    written = np.asarray(nib.nifti1.load(anat / f"{stem}_space-study_Chimap.nii.gz").dataobj)
    # splines see a few voxels around; the edge of the mask itself is another test's
    deep = ndimage.binary_erosion(known > 0.99, iterations=3)
    assert deep.sum() > 1000
    # 0.002 ppm of noise fades by a third with every voxel from the edge
    measured = np.asarray(chi.dataobj)[np.asarray(mask.dataobj) > 0]
    expected = np.clip(values, measured.min(), measured.max())
    np.testing.assert_allclose(written[deep], expected[deep], atol=3e-4)
    assert not written[known < 0.49].any()


def test_nobody_counts_outside_the_own_mask(group: Group) -> None:
    count = np.asarray(group.template("desc-count_Chimap").dataobj)
    maps = [
        np.asarray(nib.nifti1.load(group.out / folder / "anat" / f"{stem}_space-study_Chimap.nii.gz").dataobj)
        for stem, folder in SCANS.items()
    ]
    np.testing.assert_array_equal(count, sum((one != 0).astype(int) for one in maps))
    assert set(np.unique(count)) == {0, 1, 2, 3}


def test_transforms_lead_there_and_back(group: Group) -> None:
    points = np.random.default_rng(0).uniform(-25, 25, (400, 3))
    for stem, folder in SCANS.items():
        there, back = group.transforms(stem, folder)
        missed = np.linalg.norm(there.map_points(back.map_points(points)) - points, axis=-1)
        assert np.percentile(missed, 95) < 0.5


def test_template_lies_in_the_middle_of_the_deformations(group: Group) -> None:
    """The mean of where a point of the template goes is where rigid and affine parts alone take it."""
    points = np.stack(np.meshgrid(*[np.arange(-30.0, 31, 10)] * 3), axis=-1).reshape(-1, 3)
    bent = []
    for stem, folder in SCANS.items():
        there, _ = group.transforms(stem, folder)
        matrix = there.steps[-1]
        bent.append(matrix.inverse().map_points(there.map_points(points)) - points)
    single = np.median([np.linalg.norm(one, axis=-1) for one in bent])
    assert single > 1
    # what the affine steps of the persons' own spaces add is small here: all have one scan
    assert np.median(np.linalg.norm(np.mean(bent, axis=0), axis=-1)) < 0.25 * single


def test_labels_drawn_on_one_participant_are_measured_in_all(group: Group) -> None:
    rows = {
        (row["participant_id"], row["atlas"], row["index"]): row
        for row in group.rows()
        if row["map"] == "chi"
    }
    for person in ("sub-01", "sub-02", "sub-03"):
        for index in "1234":
            drawn, truth = rows[person, "drawn", index], rows[person, "truth", index]
            assert float(drawn["mean"]) == pytest.approx(float(truth["mean"]), abs=0.2 * abs(CHI[int(index)]))
    assert rows["sub-01", "drawn", "1"]["mean"] == rows["sub-01", "truth", "1"]["mean"]
    assert rows["sub-03", "drawn", "2"]["region"] == "putamen"
    assert rows["sub-03", "drawn", "2"]["hemisphere"] == "L"
    assert rows["sub-03", "drawn", "4"]["region"] == "label 4"


def test_tables_tell_who_everybody_is(group: Group) -> None:
    people = {row["participant_id"]: row for row in group.rows("group_stats_wide.csv")}
    assert [people[f"sub-0{n}"]["age"] for n in (1, 2, 3)] == ["30", "31", "32"]
    assert (people["sub-02"]["session_id"], people["sub-03"]["acquisition"]) == ("ses-A", "hr")
    assert set(people) == {"sub-01", "sub-02", "sub-03"}


def test_results_are_valid_bids(group: Group) -> None:
    validate_dataset(group.out)


def test_the_same_command_again_computes_nothing(group: Group) -> None:
    before = {path: path.read_bytes() for path in group.out.glob("tpl-study/anat/*")}
    assert group.again() == 0
    assert group.nodes_run() == set()
    assert {path: path.read_bytes() for path in group.out.glob("tpl-study/anat/*")} == before


def test_labels_drawn_on_the_template_are_measured_in_all(group: Group, tmp_path: Path) -> None:
    drawn = shutil.copy(
        group.out / "tpl-study" / "anat" / "tpl-study_seg-truth_dseg.nii.gz", tmp_path / "my_roi.nii.gz"
    )
    assert group.again("--custom-dseg", str(drawn)) == 0
    assert group.nodes_run() == {"custom_sub_01", "custom_sub_02_ses_A", "custom_sub_03_acq_hr"}
    rows = {
        (row["participant_id"], row["atlas"], row["index"]): row
        for row in group.rows()
        if row["map"] == "chi"
    }
    for person in ("sub-01", "sub-02", "sub-03"):
        for index, value in CHI.items():
            mine, truth = rows[person, "myroi", str(index)], rows[person, "truth", str(index)]
            assert float(mine["mean"]) == pytest.approx(float(truth["mean"]), abs=0.2 * abs(value))
    # the tables of an earlier drawing are not taken for those of this one
    assert not any(atlas == "drawn" for _, atlas, _ in rows)


def test_what_did_not_change_is_not_computed_again(group: Group, tmp_path: Path) -> None:
    copy = group.copy(tmp_path)
    # the template as it is, and one more participant
    write_scan(copy.out, {"sub": "05"}, Head(5), MM)
    template = shutil.copytree(group.out / "tpl-study", tmp_path / "tpl-study")
    work = ["--template-from", str(template), "--template-name", "other", "--participant-label"]
    assert copy.again(*work, "01") == 0
    assert copy.again(*work, "01", "05") == 0
    ran = copy.nodes_run()
    assert {"prepare_sub_05", "person_sub_05", "deform_existing_sub_05", "warp_sub_05", "maps_chi"} <= ran
    assert not any("sub_01" in name for name in ran)
    assert (copy.out / "tpl-other" / "anat" / "tpl-other_desc-mean_Chimap.nii.gz").is_file()
    assert not (copy.out / "tpl-other" / "anat" / "tpl-other_Chimap.nii.gz").exists()
    assert "existing" in copy.record()["template"]["ended"]
    # who fails is left out and named, the others are finished
    write_scan(copy.out, {"sub": "06"}, Head(6), MM)
    dark = copy.out / "sub-06" / "fmap" / "sub-06_magnitude.nii.gz"
    nib.Nifti1Image(np.zeros(nib.load(dark).shape, np.float32), nib.load(dark).affine).to_filename(dark)
    assert copy.again(*work, "01", "05", "06") == 1
    assert copy.nodes_run() == {"prepare_sub_06"}
    (failure,) = copy.record()["failures"]
    assert failure["step"] == "prepare_sub_06"
    assert "no signal" in failure["message"]
    assert set(copy.record()["template"]["participants"]) == {"sub-01", "sub-05"}
    assert {row["participant_id"] for row in copy.rows()} == {"sub-01", "sub-05", "sub-06"}


def test_one_participant_alone_is_its_own_template_and_says_so(group: Group, tmp_path: Path) -> None:
    copy = group.copy(tmp_path)
    assert copy.again("--participant-label", "02", "--template-name", "alone") == 0
    assert copy.record()["template"]["ended"] == "there is one participant: it is the template"
    assert "The template is one participant" in (copy.out / "group.html").read_text()
    spread = nib.nifti1.load(copy.out / "tpl-alone" / "anat" / "tpl-alone_desc-std_Chimap.nii.gz")
    assert not np.asarray(spread.dataobj).any()


def test_two_participants_count_once_each_however_often_they_were_scanned(tmp_path: Path) -> None:
    raw, out = write_dataset(tmp_path, {"01": [], "02": ["ses-A", "ses-B", "ses-C"]})
    write_scan(out, {"sub": "01"}, Head(1, 0.8), COARSE)
    # two sessions with the head turned between them, and two acquisitions in the second, one of other voxels
    write_scan(out, {"sub": "02", "ses": "A"}, Head(2, 1.4), COARSE)
    write_scan(out, {"sub": "02", "ses": "B", "acq": "fast"}, Head(2, 1.4, lean=0.15), COARSE, noise=1)
    fine = (5.0, 6.0, 5.5)
    write_scan(out, {"sub": "02", "ses": "B", "acq": "fine"}, Head(2, 1.4, lean=0.15), fine, noise=2)
    group = Group(raw, out, 0)
    assert group.again("--template-rounds", "1") == 0, group.record()["failures"]
    count, chi, spread = (
        np.asarray(group.template(name).dataobj)
        for name in ("desc-count_Chimap", "Chimap", "desc-std_Chimap")
    )
    assert set(np.unique(count)) == {0, 1, 2}
    scans = ["sub-01", "sub-02_ses-A", "sub-02_ses-B_acq-fast", "sub-02_ses-B_acq-fine"]
    voted = np.asarray(group.template("seg-truth_dseg").dataobj)
    nuclei = (voted == 2) | (voted == 3) | (voted == 4)
    warped = {}
    for stem in scans:
        folder = "/".join(part for part in stem.split("_") if part[:3] in ("sub", "ses"))
        path = out / folder / "anat" / f"{stem}_space-study_Chimap.nii.gz"
        warped[stem] = np.asarray(nib.nifti1.load(path).dataobj)
    first = warped.pop("sub-01")
    second = np.mean(list(warped.values()), axis=0)
    everywhere = nuclei & np.all([one != 0 for one in (first, *warped.values())], axis=0)
    np.testing.assert_allclose(chi[everywhere], ((first + second) / 2)[everywhere], atol=1e-6)
    # 0.8 and 1.4 times as much iron; 1.25 if every scan counted for itself
    assert (first[everywhere].mean() / chi[everywhere].mean()) == pytest.approx(0.8 / 1.1, rel=0.08)
    difference = np.abs(first - second) / np.sqrt(2)
    np.testing.assert_allclose(spread[everywhere], difference[everywhere], atol=1e-6)
    # sessions of one participant are aligned in the template although the head was turned
    one, other = warped["sub-02_ses-A"], warped["sub-02_ses-B_acq-fast"]
    assert np.corrcoef(one[everywhere], other[everywhere])[0, 1] > 0.9
    missing = [entry["scan"] for entry in group.record()["missing"]]
    assert missing == ["sub-02_ses-C"]
    assert {row["participant_id"] for row in group.rows()} == {"sub-01", "sub-02"}


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(group: Group, tmp_path: Path) -> None:
    copy = group.copy(tmp_path)
    shutil.rmtree(copy.out / "tpl-study")
    command = [sys.executable, "-m", "qsmxt_app", str(copy.raw), str(copy.out), "group", "-q"]
    process = subprocess.Popen([*command, "--template-rounds", "2"], start_new_session=True)
    work = copy.out / ".work" / "group"
    # in the second round, with one of three participants registered
    while process.poll() is None and not list(work.glob("deform_2_*/facts.json")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {path.parent.name for path in work.glob("*/result_*.pklz")}
    assert {"deform_1_sub_01", "update_1"} <= finished
    assert not list(copy.out.glob("tpl-study/anat/*"))
    assert copy.again() == 0
    assert not copy.nodes_run() & finished
    for path in group.out.glob("tpl-study/anat/*.nii.gz"):
        assert path.read_bytes() == (copy.out / "tpl-study" / "anat" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--group-by", "height"], 64, "age, group"),
        (["--participant-label", "04"], 66, "not enough memory"),
        (["--participant-label", "99"], 18, "sub-99"),
        (["--custom-labels", "{labels}"], 64, "--custom-dseg"),
        (["--template-name", "a/b"], 64, "letters"),
        (["--template-from", "{raw}"], 66, "T2starw"),
        (["--custom-dseg", "{zeros}"], 65, "no label"),
    ],
)
def test_refuses_before_anything_is_written(
    group: Group,
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels, zeros = tmp_path / "labels.txt", tmp_path / "zeros.nii.gz"
    labels.write_text('1 9 9 9 1 1 1 "putamen"\n')
    nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)).to_filename(zeros)
    before = sorted((group.out / "logs").iterdir())
    filled = [text.format(labels=labels, zeros=zeros, raw=group.raw) for text in arguments]
    assert group.again(*filled) == code
    assert words in capsys.readouterr().err
    assert sorted((group.out / "logs").iterdir()) == before


def test_dry_run_shows_and_writes_nothing(group: Group, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(group.out.rglob("*"))
    assert group.again("--dry-run") == 0
    shown = capsys.readouterr().out
    assert "sub-03_acq-hr" in shown
    assert "left out: sub-04" in shown
    assert sorted(group.out.rglob("*")) == before


def test_scans_that_were_made_in_another_way_are_named_once(
    group: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = group.copy(tmp_path)
    sidecar = copy.out / "sub-02" / "ses-A" / "anat" / "sub-02_ses-A_Chimap.json"
    sidecar.write_text('{"Reference": "lateral ventricle", "Units": "ppm"}')
    made = (("01", 0.001, "gre", 3), ("02", 0.002, "body", 3.0004), ("03", 0.002, "gre", 2.89))
    for label, tolerance, preset, strength in made:
        record = next((copy.out / f"sub-{label}" / "figures").glob("*_record.json"))
        content = {
            **json.loads(record.read_text()),
            "settings": {"preset": preset, "tgv_tolerance": tolerance},
            "inputs": {"field_strength": strength},
        }
        record.write_text(json.dumps(content))
    assert main([str(copy.raw), str(copy.out), "group", "--no-template"]) == 0
    found = {one["what"]: one["who"] for one in copy.record()["inconsistent_settings"]}
    assert found == {
        "reference of chi": "mean in 2 scans; lateral ventricle in sub-02_ses-A",
        "preset": "gre in 2 scans; body in sub-02_ses-A",
        # what a preset stands for is not told again
        "tgv tolerance (gre)": "0.001 in sub-01; 0.002 in sub-03_acq-hr",
    }
    log = max((copy.out / "logs").glob("*/qsmxt.log"), key=lambda path: path.stat().st_mtime_ns).read_text()
    shown = capsys.readouterr().err
    for text in (shown, log, (copy.out / "group.html").read_text()):
        assert text.count("lateral ventricle in sub-02_ses-A") == 1


def test_report_is_written_again_from_disk(group: Group) -> None:
    page = group.out / "group.html"
    before = page.read_bytes()
    page.unlink()
    assert group.again("--reports-only") == 0
    assert page.read_bytes() == before
