"""Labels and values on disk."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.segment.regional_values import QuantitativeMap
from qsmxt_app.segment.regions import Region, read_regions
from qsmxt_app.workflows.region_files import save_labels, save_values

REGIONS = (Region(1, "putamen", "L"), Region(7, "nucleus"))


def test_labels_and_values_can_be_read_back(tmp_path: Path) -> None:
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (1.0, 2.0, 1.5)
    labels = np.zeros((5, 5, 5), np.int32)
    labels[1:3, 1, 1], labels[4, 4, 4] = 1, 7
    chi = np.where(labels == 1, 0.06, 0.12).astype(np.float32)
    mask = labels != 7
    path, stats = tmp_path / "sub-1_seg-mine_dseg.nii.gz", tmp_path / "sub-1_desc-qsm_stats.tsv"
    table = save_labels(labels, affine, path, {"Sources": ["bids::a"]}, REGIONS)
    save_values(
        labels,
        affine,
        stats,
        REGIONS,
        [QuantitativeMap("chi", chi, mask, "ppm", "mean")],
        atlas="mine",
        sources=["bids::a"],
    )
    np.testing.assert_array_equal(np.asarray(nib.nifti1.load(path).dataobj), labels)
    assert tuple(read_regions(table)) == REGIONS
    assert json.loads((tmp_path / "sub-1_seg-mine_dseg.json").read_text())["Sources"] == ["bids::a"]
    rows = {row["index"]: row for row in csv.DictReader(stats.read_text().splitlines(), delimiter="\t")}
    assert float(rows["1"]["mean"]) == pytest.approx(0.06)
    # two voxels of 1 x 2 x 1.5 mm, however the image is turned
    assert float(rows["1"]["volume_mm3"]) == pytest.approx(6.0)
    assert (rows["7"]["n_voxels"], rows["7"]["mean"]) == ("0", "n/a")
    told = json.loads((tmp_path / "sub-1_desc-qsm_stats.json").read_text())
    assert told["Sources"] == ["bids::a"]
    assert set(rows["1"]) <= set(told)
