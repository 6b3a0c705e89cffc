"""The stages for the public benchmark run by its own runner, and give maps in ppm near the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.dipole import forward_field

FOLDER = Path(__file__).parents[2] / "registry" / "qsm-ci"
SIZE, TIMES = (1.0, 1.0, 1.5), ["0.004", "0.01", "0.016"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    shape = (32, 32, 24)
    x, y, z = np.meshgrid(
        *[(np.arange(n) - n / 2) * s for n, s in zip(shape, SIZE, strict=True)], indexing="ij"
    )
    mask = x**2 + y**2 + z**2 < 14**2
    chi = np.where(mask & ((x - 3) ** 2 + y**2 + z**2 < 16), 0.3, 0).astype(np.float32)
    outside = np.where((np.abs(x) < 4) & (y > 14), 3.0, 0).astype(np.float32)
    local, total = (forward_field(s, voxel_size=SIZE, b0_direction=(0, 0, 1)) for s in (chi, chi + outside))
    angles = [2 * np.pi * float(time) * hz_per_ppm(3.0) * total for time in TIMES]
    noise = np.random.default_rng(2).normal(0, 0.01, (2, *shape, 3))
    signal = mask[..., None] * np.exp(1j * np.stack(angles, -1)) + noise[0] + 1j * noise[1]
    images = {"phase": np.angle(signal), "magnitude": np.abs(signal), "mask": mask}
    for name, values in (
        images | {"totalfield": total * mask, "localfield": local * mask, "chi": chi}
    ).items():
        nib.save(
            nib.Nifti1Image(np.asarray(values, np.float32), np.diag([*SIZE, 1])), folder / f"{name}.nii.gz"
        )
    return folder


@pytest.mark.parametrize(
    ("stage", "inputs", "truth", "most"),
    [
        ("qsmxt-field", ("phase", "magnitude", "mask"), "totalfield", 0.05),
        ("qsmxt-lbv", ("totalfield", "mask"), "localfield", 0.5),
        ("qsmxt-tv", ("localfield", "mask"), "chi", 0.7),
        ("qsmxt-lbv-tv", ("totalfield", "mask"), "chi", 0.8),
        ("qsmxt-tgv", ("phase", "magnitude", "mask"), "chi", 0.8),
    ],
)
def test_each_stage_runs_by_the_benchmarks_own_runner(phantom, tmp_path, stage, inputs, truth, most):
    options = [word for name in inputs for word in (f"--{name}", str(phantom / f"{name}.nii.gz"))]
    programs = Path(sys.executable).parent
    command = [str(programs / "qsm-ci"), "run", "--runner", "local", str(FOLDER / stage), *options]
    command += ["--field-strength", "3", "--te", *TIMES, "-o", str(tmp_path / "out.nii.gz")]
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, true = (
        nib.load(file).get_fdata() for file in (tmp_path / "out.nii.gz", phantom / f"{truth}.nii.gz")
    )
    inside = (nib.load(phantom / "mask.nii.gz").get_fdata() > 0) & (found != 0)
    difference = (found - true)[inside]
    assert difference.std() < most * true[inside].std()
