"""Masks of the user are found and checked before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bids"))

from raw_dataset import AFFINE, RawDataset, write_image

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.config import load_settings
from qsmxt_app.errors import NoInput, WrongUsage
from qsmxt_app.workflows.given_masks import settings_with_masks


@pytest.fixture
def raw(tmp_path: Path) -> RawDataset:
    dataset = RawDataset(tmp_path / "raw")
    for stem in ("sub-01_ses-A_run-1", "sub-01_ses-A_run-2", "sub-02"):
        dataset.megre(stem)
    return dataset


def _mask(folder: Path, name: str, shape=(8, 8, 8), **options) -> Path:
    return write_image(RawDataset(folder).file(f"{name}_mask.nii.gz"), np.ones(shape, np.uint8), **options)


def _given(raw: RawDataset, **flags):
    acquisitions = find_acquisitions(open_dataset(raw.root)).acquisitions
    usable, problems = settings_with_masks(acquisitions, load_settings(flags))
    return {scan.stem: Path(settings.mask).name for scan, settings in usable}, problems


def test_each_scan_gets_the_mask_of_its_name(raw: RawDataset, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    _mask(folder, "sub-01_ses-A_desc-other")
    _mask(folder, "sub-01_ses-A_run-2_desc-brain")
    _mask(folder, "sub-01_ses-A_run-2_space-T1w_desc-qsm", (9, 9, 9))
    _mask(folder, "sub-02_desc-brain")
    _mask(folder, "sub-02_desc-qsm")
    found, problems = _given(raw, masks=str(folder))
    assert problems == []
    assert found == {
        "sub-01_ses-A_run-1": "sub-01_ses-A_desc-other_mask.nii.gz",
        "sub-01_ses-A_run-2": "sub-01_ses-A_run-2_desc-brain_mask.nii.gz",
        "sub-02": "sub-02_desc-qsm_mask.nii.gz",
    }


def test_missing_masks_and_other_grids_are_told_before_anything_runs(raw: RawDataset, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    _mask(folder, "sub-01_ses-A_run-1_desc-brain", (8, 8, 7))
    _mask(folder, "sub-02_desc-brain", affine=AFFINE + np.eye(4)[[3, 0, 1, 2]].T * 3)
    found, problems = _given(raw, masks=str(folder))
    assert found == {}
    said = [str(problem) for problem in problems]
    assert "run-1_desc-brain_mask.nii.gz: not on the grid of" in said[0]
    assert "run-2 MEGRE (3 echoes): no mask in" in said[1]
    assert "sub-02_desc-brain_mask.nii.gz: not on the grid of" in said[2]
    assert [problem.exit_code for problem in problems] == [65, 66, 65]


def test_one_mask_for_all_is_checked_too(raw: RawDataset, tmp_path: Path) -> None:
    found, problems = _given(raw, mask=str(_mask(tmp_path, "sub-01_desc-x")))
    assert (len(found), problems) == (3, [])
    found, problems = _given(raw, mask=str(_mask(tmp_path, "sub-01_desc-y", (8, 8, 7))))
    assert (found, len(problems)) == ({}, 3)


def test_only_one_of_both(raw: RawDataset, tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="exclude each other"):
        _given(raw, mask="bet", masks=str(tmp_path))
    with pytest.raises(NoInput, match="does not exist"):
        load_settings({"masks": str(tmp_path / "absent")})
