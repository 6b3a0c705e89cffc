"""The command qsm: single steps give what the library gives, with units, and errors in one line."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.tools.commands import COMMANDS
from qsmxt_app.tools.qsm import main

SIZE, TIMES = (1.0, 1.2, 0.9), (0.004, 0.009, 0.014)
# B0 lies along the scanner's z axis: (0, .6, .8) in voxel axes
AFFINE = np.eye(4)
AFFINE[:3, :3] = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]) * SIZE
PER_PPM = hz_per_ppm(3.0)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A ball of 0.2 ppm in a larger one, with its field, phase and magnitude of three echoes."""
    folder = tmp_path_factory.mktemp("scan")
    shape = (28, 26, 30)
    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij")
    mask = x**2 + y**2 + z**2 < 120
    chi = np.where((x - 2) ** 2 + y**2 + z**2 < 12, 0.2, 0).astype(np.float32)
    field = forward_field(chi, voxel_size=SIZE, b0_direction=(0.0, 0.6, 0.8))
    images = {"chi": chi, "mask": mask.astype(np.uint8), "field": field * PER_PPM, "ppm": field}
    rng = np.random.default_rng(1)
    for echo, time in enumerate(TIMES):
        signal = mask * 100 * np.exp(-20 * time + 1j * 2 * np.pi * time * PER_PPM * field + 0.3j)
        signal = signal + rng.normal(0, 0.5, (2, *shape)).view()[0] + 1j * rng.normal(0, 0.5, shape)
        images |= {f"mag{echo}": np.abs(signal), f"phase{echo}": np.angle(signal)}
        sidecar = {"EchoTime": time, "MagneticFieldStrength": 3.0}
        for part in ("mag", "phase"):
            (folder / f"{part}{echo}.json").write_text(json.dumps(sidecar))
    for name, values in images.items():
        nib.save(nib.Nifti1Image(np.asarray(values, np.float32), AFFINE), folder / f"{name}.nii.gz")
    return folder


def run(scan, name, *more, output="out.nii.gz", **images):
    options = []
    for key, files in images.items():
        options += [f"--{key}", *(str(scan / f"{file}.nii.gz") for file in np.atleast_1d(files))]
    return main([name, *options, "-o", str(scan / output), *map(str, more)])


def read(scan, name):
    return nib.load(scan / f"{name}.nii.gz").get_fdata()


ECHOES = {"magnitude": ["mag0", "mag1", "mag2"], "phase": ["phase0", "phase1", "phase2"]}


def test_mask_and_quality_show_the_ball(scan):
    assert run(scan, "mask", "--separation", "0", **ECHOES, output="made.nii.gz") == 0
    made, true = read(scan, "made") > 0, read(scan, "mask") > 0
    assert 2 * (made & true).sum() / (made.sum() + true.sum()) > 0.95
    assert run(scan, "quality", **ECHOES, output="quality.nii.gz") == 0
    quality = read(scan, "quality")
    assert quality[true].mean() > 0.8
    assert quality[~true].mean() < 0.6


@pytest.mark.parametrize(("units", "scale"), [("Hz", 1), ("ppm", PER_PPM)])
def test_field_in_both_units_by_times_of_the_sidecars(scan, units, scale):
    assert run(scan, "field", "--units", units, mask="mask", **ECHOES, output="fitted.nii.gz") == 0
    true, mask = read(scan, "field"), read(scan, "mask") > 0
    error = (read(scan, "fitted") * scale - true)[mask]
    noise = read(scan, "fitted_noise")[mask] * scale
    assert 0.8 < (error / noise).std() < 1.3
    sidecar = json.loads((scan / "fitted.json").read_text())
    assert sidecar["Units"] == units
    assert sidecar["GeneratedBy"][0]["Step"] == "field"
    np.testing.assert_allclose(nib.load(scan / "fitted.nii.gz").affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("method", COMMANDS["invert"].options[0].choices)
def test_each_inversion_finds_the_ball_in_the_oblique_field(scan, method):
    assert run(scan, "invert", "--method", method, "--field-strength", 3, field="field", mask="mask") == 0
    chi, true = read(scan, "out"), read(scan, "chi")
    inside = true > 0
    contrast = chi[inside].mean() - chi[(read(scan, "mask") > 0) & ~inside].mean()
    assert contrast == pytest.approx(0.2, rel=0.3)
    facts = json.loads((scan / "out.json").read_text())["GeneratedBy"][0]
    assert facts["method"] == method


@pytest.mark.parametrize("method", COMMANDS["background"].options[0].choices)
def test_each_background_removal_takes_a_constant_off(scan, method):
    shifted = read(scan, "ppm") + 1.5
    nib.save(nib.Nifti1Image(shifted.astype(np.float32), AFFINE), scan / "shifted.nii.gz")
    more = ["--method", method, "--field-strength", 3, "--units", "ppm"]
    assert run(scan, "background", *more, field="shifted", mask="mask", output="local.nii.gz") == 0
    left = read(scan, "local_mask") > 0
    assert abs(read(scan, "local")[left].mean()) < 0.1


def test_wrapped_phase_gives_chi_in_one_step(scan):
    assert run(scan, "tgv", mask="mask", **ECHOES, output="tgv.nii.gz") == 0
    chi, true = read(scan, "tgv"), read(scan, "chi") > 0
    contrast = chi[true].mean() - chi[(read(scan, "mask") > 0) & ~true].mean()
    assert contrast == pytest.approx(0.2, rel=0.25)


def test_four_dimensional_echoes_and_r2star(scan):
    series = np.stack([read(scan, f"mag{echo}") for echo in range(3)], axis=-1).astype(np.float32)
    nib.save(nib.Nifti1Image(series, AFFINE), scan / "series.nii.gz")
    times = ["--echo-times", *TIMES]
    assert run(scan, "r2star", *times, magnitude="series", mask="mask", output="r2star.nii.gz") == 0
    mask = read(scan, "mask") > 0
    assert np.median(read(scan, "r2star")[mask]) == pytest.approx(20, rel=0.05)
    assert json.loads((scan / "r2star_t2star.json").read_text())["Units"] == "s"


def test_unwrapped_phase_differs_from_the_wrapped_by_cycles(scan):
    assert run(scan, "unwrap", "--no-in-time", mask="mask", phase="phase2", output="unwrapped.nii.gz") == 0
    cycles = (read(scan, "unwrapped") - read(scan, "phase2"))[read(scan, "mask") > 0] / (2 * np.pi)
    np.testing.assert_allclose(cycles, np.rint(cycles), atol=1e-4)


def test_swi_darkens_where_the_field_is_high(scan):
    assert (
        run(scan, "swi", magnitude=ECHOES["magnitude"], field="field", mask="mask", output="swi.nii.gz") == 0
    )
    assert read(scan, "swi_minip").shape == read(scan, "swi").shape


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (64, "invert", ["inver"]),
        (64, "--field", ["invert", "--mask", "mask.nii.gz", "-o", "x.nii.gz"]),
        (64, "strength", ["invert", "--mask", "mask.nii.gz", "--field", "ppm.nii.gz", "-o", "x.nii.gz"]),
        (64, "echo times", ["r2star", "--magnitude", "mask.nii.gz", "-o", "x.nii.gz"]),
        (64, ".nii.gz", ["r2star", "--magnitude", "mag0.nii.gz", "-o", "x"]),
        (66, "absent.nii.gz", ["r2star", "--magnitude", "absent.nii.gz", "-o", "x.nii.gz"]),
        (73, "does not exist", ["r2star", "--magnitude", "mag0.nii.gz", "-o", "no/x.nii.gz"]),
    ],
)  # fmt: skip
def test_errors_are_one_line_with_their_exit_code(scan, monkeypatch, capsys, code, message, arguments):
    monkeypatch.chdir(scan)
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_every_command_has_help(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in listed
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert command.help.split(",")[0][:30] in " ".join(capsys.readouterr().out.split())


def test_separate_finds_the_paramagnetic_ball(scan):
    """R2* is 20 1/s everywhere: R2' is 9 of them, half of what the ball's 0.2 ppm would cause."""
    nib.save(nib.Nifti1Image(np.full((28, 26, 30), 11.0, np.float32), AFFINE), scan / "r2.nii.gz")
    nib.save(nib.Nifti1Image(np.full((28, 26, 30), 0.1, np.float32), AFFINE), scan / "noise.nii.gz")
    images = {"magnitude": ECHOES["magnitude"], "chi": "chi", "field": "field", "noise": "noise"}
    assert run(scan, "separate", "--method", "closed_form", mask="mask", r2="r2", **images) == 0
    inside, ball = read(scan, "mask") > 0, read(scan, "chi") > 0.1
    paramagnetic, diamagnetic = read(scan, "out"), read(scan, "out_diamagnetic")
    assert paramagnetic[ball].mean() == pytest.approx((9 / 137 + 0.2) / 2, rel=0.1)
    assert abs(diamagnetic[ball]).max() < 0.01
    outside = inside & ~ball
    assert np.median(diamagnetic[outside]) == pytest.approx(9 / 137 / 2, rel=0.1)
    made = json.loads((scan / "out_diamagnetic.json").read_text())
    assert (made["Units"], made["GeneratedBy"][0]["method"]) == ("ppm", "closed_form")
    assert made["GeneratedBy"][0]["r2_measured_share"] == 1
