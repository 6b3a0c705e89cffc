from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numba
import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread(prepared_process: None) -> None:
    """Use one thread for small images: on a busy machine, threads mostly wait for each other."""
    numba.set_num_threads(1)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw dataset of one small single-echo scan."""
    root = tmp_path / "raw"
    anat = root / "sub-01" / "anat"
    anat.mkdir(parents=True)
    root.joinpath("dataset_description.json").write_text(json.dumps({"Name": "raw", "BIDSVersion": "1.10.0"}))
    generator = np.random.default_rng(7)
    for part, units in (("mag", "arbitrary"), ("phase", "rad")):
        voxels = generator.uniform(-3, 3, (16, 16, 16)).astype(np.float32)
        stem = f"sub-01_part-{part}_T2starw"
        nib.save(
            nib.Nifti1Image(abs(voxels) if part == "mag" else voxels, np.diag([4.0, 4, 4, 1])),
            anat / f"{stem}.nii",
        )
        metadata = {"EchoTime": 0.02, "MagneticFieldStrength": 3.0, "Units": units}
        anat.joinpath(f"{stem}.json").write_text(json.dumps(metadata))
    return root
