import json
from pathlib import Path

import pytest
from raw_dataset import RawDataset


@pytest.fixture
def empty_dataset(tmp_path: Path) -> RawDataset:
    root = tmp_path / "raw"
    root.mkdir()
    description = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README.md").write_text("A tiny synthetic dataset.\n")
    return RawDataset(root)


@pytest.fixture
def raw(empty_dataset: RawDataset) -> RawDataset:
    """Two participants with three echoes and a T1w each."""
    for subject in ("sub-01", "sub-02"):
        empty_dataset.megre(subject)
        empty_dataset.t1w(subject)
    return empty_dataset
