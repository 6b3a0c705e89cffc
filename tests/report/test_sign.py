"""The sign of a map: three checks, and how sure they are together."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from report_data import Outputs

from qsmxt_app.qsm.sign_check import iron_contrast
from qsmxt_app.records.scan import MapChecks, ScanRecord, read_record
from qsmxt_app.report.findings import find
from qsmxt_app.report.sign import describe_sign

NUCLEI = (("putamen", "L"), ("putamen", "R"), ("globus-pallidus", "L"), ("globus-pallidus", "R"))


def record_with(
    folder: Path, correlation: float | None = None, contrast: float | None = None, bright: int | None = None
) -> ScanRecord:
    """A record of what each check found; `bright` nuclei of four lie above white matter."""
    record = read_record(Outputs(folder).add())
    outputs = record.outputs
    if bright is not None:
        values = [0.1] * bright + [-0.1] * (len(NUCLEI) - bright)
        rows = [("white-matter", "L", 0.0), *((*name, x) for name, x in zip(NUCLEI, values, strict=True))]
        lines = ["index\tname\themisphere\tmap\tn_voxels\tmedian\tp25\tp75"]
        lines += [f"{n}\t{name}\t{side}\tchi\t200\t{x}\t{x}\t{x}" for n, (name, side, x) in enumerate(rows)]
        table = "sub-01/anat/sub-01_run-1_desc-qsm_stats.tsv"
        (folder / table).write_text("\n".join(lines) + "\n")
        outputs = outputs | {"stats": table}
    return dataclasses.replace(
        record,
        outputs=outputs,
        field=dataclasses.replace(record.field, outline_correlation=correlation),
        checks=MapChecks(chi_spread=0.03, iron_contrast=contrast),
    )


@pytest.mark.parametrize(
    ("correlation", "contrast", "bright", "words"),
    [
        (0.45, None, None, "right, medium confidence"),
        (0.45, 1.2, None, "right, high confidence"),
        (0.45, 1.2, 4, "right, high confidence"),
        (0.1, 0.3, None, "not known"),
        (0.1, 0.3, 3, "right, medium confidence"),
        (-0.4, -1.2, 0, "inverted, high confidence"),
        (0.45, -1.2, None, "contradictory"),
        (None, None, 2, "not known"),
    ],
)
def test_checks_that_agree_give_confidence(
    tmp_path: Path, correlation: float | None, contrast: float | None, bright: int | None, words: str
) -> None:
    record = record_with(tmp_path, correlation, contrast, bright)
    assert describe_sign(tmp_path, record).startswith(f"{words}: ")


def test_without_any_check_nothing_is_said(tmp_path: Path) -> None:
    assert describe_sign(tmp_path, record_with(tmp_path)) == ""


@pytest.mark.parametrize(("contrast", "warned"), [(1.2, False), (-0.4, False), (-1.2, True), (None, False)])
def test_a_map_of_the_wrong_sign_is_a_warning(tmp_path: Path, contrast: float | None, warned: bool) -> None:
    titles = [finding.title for finding in find(record_with(tmp_path, contrast=contrast))]
    assert ("The sign of the map seems to be inverted" in titles) == warned


def head_with_nuclei() -> tuple[np.ndarray, ...]:
    """Chi (ppm), R2* (1/s), S0 and mask of a ball at 3 mm with nuclei, bone without signal, and noise."""
    rng = np.random.default_rng(2)
    x, y, z = np.indices((50, 50, 50)) - 24.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    mask = radius < 23
    nuclei = np.hypot(np.hypot(abs(x) - 6, y), z) < 3.5
    bone = np.hypot(np.hypot(x, y), z + 10) < 3
    chi = 0.01 * rng.standard_normal(mask.shape) + 0.08 * nuclei - 2 * bone
    rate = 18 + 2 * rng.standard_normal(mask.shape) + 25 * nuclei + 100 * bone
    signal = np.where(bone, 5.0, 100.0)
    chi, rate, signal = (np.where(mask, image, 0).astype(np.float32) for image in (chi, rate, signal))
    return chi, rate, signal, mask


def test_iron_is_bright_and_bone_does_not_count() -> None:
    chi, rate, signal, mask = head_with_nuclei()
    size = (3.0, 3.0, 3.0)
    found = iron_contrast(chi, rate, signal, mask, voxel_size=size)
    # nuclei of 0.08 ppm in noise of 0.01
    assert found == pytest.approx(8, abs=1)
    assert iron_contrast(-chi, rate, signal, mask, voxel_size=size) == pytest.approx(-found)
    # in a small object nothing is deep, and a flat R2* singles nothing out
    assert iron_contrast(chi, rate, signal, mask, voxel_size=(1.0, 1.0, 1.0)) is None
    flat = np.where(mask, 18, 0).astype(np.float32)
    assert iron_contrast(chi, flat, signal, mask, voxel_size=size) in (None, pytest.approx(0, abs=0.3))
