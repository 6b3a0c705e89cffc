"""The command tgv_qsm: the same map as the library, and errors in one line with their exit codes."""

from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.qsm.tgv import combine_echoes, solve_tgv
from qsmxt_app.tools.tgv_qsm import main

AFFINE = np.diag([1.0, 1.2, 0.9, 1.0]) @ np.array(
    [[1, 0, 0, 0], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1.0]]
)
AFFINE[:3, :3] = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]) * [1.0, 1.2, 0.9]
B0_DIRECTION, VOXEL_SIZE = (0.0, 0.6, 0.8), (1.0, 1.2, 0.9)


@pytest.fixture
def files(tmp_path):
    shape = (20, 18, 22)
    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij")
    mask = x**2 + y**2 + z**2 < 60
    chi = np.where((x - 2) ** 2 + y**2 + z**2 < 10, 0.2, 0).astype(np.float32)
    field = forward_field(chi, voxel_size=VOXEL_SIZE, b0_direction=B0_DIRECTION)
    phase = (2 * np.pi * hz_per_ppm(3.0) * 0.02 * field).astype(np.float32)
    for name, values in (
        ("phase", phase),
        ("mask", mask.astype(np.uint8)),
        ("magnitude", np.ones_like(phase)),
    ):
        nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / f"{name}.nii.gz")
    return tmp_path


def run(files, *more, phase="phase.nii.gz", mask="mask.nii.gz"):
    return main(["-p", str(files / phase), "-m", str(files / mask), "-t", "0.02", "-f", "3", *more])


def test_same_map_as_the_library_in_the_oblique_field(files, capsys):
    assert run(files, "-o", "qsm") == 0
    assert "iterations" in capsys.readouterr().out
    image = nib.load(files / "phase_qsm.nii.gz")
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    phase = nib.load(files / "phase.nii.gz").get_fdata(dtype=np.float32)
    mask = nib.load(files / "mask.nii.gz").get_fdata() > 0
    combined = combine_echoes(
        np.ones_like(phase), phase, [0.02], field_strength=3.0, voxel_size=VOXEL_SIZE, mask=mask
    )
    expected = solve_tgv(combined.laplacian, mask, voxel_size=VOXEL_SIZE, b0_direction=B0_DIRECTION).chi
    np.testing.assert_allclose(image.get_fdata(), expected, atol=2e-4)


def test_flags_change_what_they_say(files):
    assert run(files, "-o", str(files / "a.nii.gz"), "-e", "1", "-i", "30", "--save-laplacian") == 0
    assert run(files, "-o", str(files / "b.nii.gz"), "--ignore-orientation", "--factors", "1", "3") == 0
    eroded = nib.load(files / "a.nii.gz").get_fdata() != 0
    assert 0 < eroded.sum() < nib.load(files / "mask.nii.gz").get_fdata().sum()
    assert nib.load(files / "a_laplacian.nii.gz").get_fdata().any()
    weak, strong = (nib.load(files / f"b_{f}.nii.gz").get_fdata().std() for f in (1, 3))
    assert strong < weak


def test_errors_are_one_line_with_their_exit_code(files, capsys):
    broken = files / "broken.nii.gz"
    broken.write_bytes((files / "phase.nii.gz").read_bytes()[:200])
    small = files / "small.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), AFFINE), small)
    empty = files / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 18, 22), np.uint8), AFFINE), empty)
    cases = [
        (64, "2 echo times", ["-t", "0.01", "0.02"], {}),
        (64, "not allowed with", ["--alpha", "1", "1", "--factors", "2"], {}),
        (65, "broken.nii.gz", [], {"phase": "broken.nii.gz"}),
        (65, "small.nii.gz", [], {"mask": "small.nii.gz"}),
        (65, "mask is empty", [], {"mask": "empty.nii.gz"}),
        (66, "No such file", [], {"phase": "absent.nii.gz"}),
        (73, "does not exist", ["-o", str(files / "nowhere" / "chi.nii.gz")], {}),
    ]
    for code, message, more, names in cases:
        assert run(files, *more, **names) == code, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_help_needs_nothing_heavy():
    script = (
        "import sys; from qsmxt_app.tools.tgv_qsm import build_parser; build_parser().format_help(); "
        "print(sorted({'numpy', 'numba', 'nibabel', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
