"""Phase at TE = 0 of several kinds, and phase as odd scanners and exports give it."""

import json

import numpy as np
import pytest

from qsmxt_app.simulate import Protocol, command, geometry, subject
from qsmxt_app.simulate.command import main
from qsmxt_app.simulate.geometry import scan_grid
from qsmxt_app.simulate.receive import OddPhase, receive_phase, spoil_phase
from qsmxt_app.simulate.signal import make_coil

EDGES = np.full(3, 4.0)
GRID = scan_grid(EDGES, (0, 0, 1))


def rng(seed=3):
    return np.random.default_rng(seed)


def turn(phase):
    return np.angle(np.exp(1j * phase))


@pytest.mark.parametrize("kind", ["polynomial", "smooth", "conductive"])
def test_receive_phase_is_smooth_and_not_nothing(kind):
    phase = receive_phase(kind, make_coil(rng()), GRID, rng())
    assert phase.shape == GRID.shape
    assert np.ptp(phase) > 1
    assert max(abs(np.diff(phase, axis=axis)).max() for axis in range(3)) < 0.5


def test_conductive_phase_has_one_curvature_everywhere():
    phase = receive_phase("conductive", make_coil(rng()), GRID, rng()).astype(float)
    curvature = np.diff(phase, 2, axis=0)
    assert curvature.mean() < 0
    np.testing.assert_allclose(curvature, curvature.mean(), rtol=1e-2)
    # along the body the radio field varies half as much
    assert np.diff(phase, 2, axis=1).mean() == pytest.approx(curvature.mean(), rel=1e-2)
    assert np.diff(phase, 2, axis=2).mean() == pytest.approx(curvature.mean() / 2, rel=1e-2)


def wide_phase():
    x = np.arange(24, dtype=np.float32)[:, None, None, None]
    phase = 0.9 * x * np.array([1, 2, 3], np.float32) + np.zeros((1, 8, 8, 1), np.float32)
    return np.ones(phase.shape, np.float32), turn(phase).astype(np.float32)


def test_constants_are_those_of_echoes_and_spare_the_first():
    magnitude, phase = wide_phase()
    added = turn(spoil_phase(magnitude, phase.copy(), OddPhase(echo_constants=1.0), EDGES, rng()) - phase)
    np.testing.assert_allclose(added[..., 0], 0, atol=1e-5)
    for echo in (1, 2):
        np.testing.assert_allclose(added[..., echo], added[0, 0, 0, echo], atol=1e-4)
        assert abs(added[0, 0, 0, echo]) > 0.05


def test_scales_belong_to_echoes():
    magnitude, phase = wide_phase()
    spoilt = spoil_phase(magnitude, phase.copy(), OddPhase(echo_scales=(1.0, 0.9)), EDGES, rng())
    np.testing.assert_allclose(spoilt, phase * np.array([1, 0.9, 1], np.float32), rtol=1e-6)


def test_a_high_pass_leaves_detail_and_takes_slopes():
    magnitude, phase = wide_phase()
    slow = 0.05 * np.arange(24, dtype=np.float32)[:, None, None, None] + np.zeros_like(phase)
    slow[12, 4, 4] += 1.0
    filtered = spoil_phase(magnitude, slow.copy(), OddPhase(high_pass_mm=12.0), EDGES, rng())
    assert abs(filtered[6:18, 0, 0, 0]).max() < 0.05
    assert filtered[12, 4, 4, 0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "wrong", [{"echo_constants": -1}, {"echo_scales": (np.nan,)}, {"high_pass_mm": np.inf}]
)
def test_odd_values_are_refused(wrong):
    with pytest.raises(ValueError, match="must not be negative"):
        OddPhase(**wrong)


def test_every_option_reaches_the_protocol(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(command, "write_dataset", lambda out, **given: asked.update(given, out=out))
    options = {
        "--subjects": "3", "--voxel-size": "1 2 3", "--echo-times": "0.004 0.01", "--b0": "7",
        "--b0-direction": "0 0.6 0.8", "--snr": "33", "--anatomy": "elderly", "--receive-phase": "conductive",
        "--echo-constants": "0.3", "--echo-scales": "1 0.5", "--high-pass": "12", "--seed": "5",
        "--truth": str(tmp_path / "truth"),
    }  # fmt: skip
    words = [word for flag, values in options.items() for word in (flag, *values.split(" "))]
    assert main([str(tmp_path / "bids"), *words, "--bipolar", "--undeclared-readout", "--mixed-sources"]) == 0
    assert asked["protocol"] == Protocol(
        voxel_size=(1, 2, 3), echo_times=(0.004, 0.01), field_strength=7, b0_direction=(0, 0.6, 0.8), snr=33,
        bipolar=True, anatomy="elderly", receive="conductive", odd=OddPhase(0.3, (1, 0.5), 12),
        declare_readout=False, mixed_sources=True,
    )  # fmt: skip
    assert (asked["subjects"], asked["seed"]) == (3, 5)
    assert (asked["out"], asked["truth"]) == (tmp_path / "bids", tmp_path / "truth")
    assert main([str(tmp_path / "bids"), "--voxel-size", "2"]) == 0
    assert asked["protocol"] == Protocol(voxel_size=(2, 2, 2))


def test_the_command_takes_all_options(tmp_path, monkeypatch):
    """On grids of a few voxels: other tests look at what is simulated."""
    monkeypatch.setattr(geometry, "_FINE_MM", 4.0)
    monkeypatch.setattr(subject, "COARSE_MM", 6.0)
    subject._drawn_head.cache_clear()
    size = ["--voxel-size", "8", "--echo-times", "0.005", "0.012", "0.019"]
    odd = ["--bipolar", "--undeclared-readout", "--echo-scales", "1", "0.9", "--receive-phase", "smooth"]
    assert (
        main(
            [
                str(tmp_path / "bids"),
                *size,
                *odd,
                "--anatomy",
                "adult",
                "--seed",
                "37",
                "--mixed-sources",
                "--truth",
                str(tmp_path / "truth"),
            ]
        )
        == 0
    )
    sidecar = json.loads((tmp_path / "bids/sub-01/anat/sub-01_echo-1_part-mag_MEGRE.json").read_text())
    assert "ReadoutPolarity" not in sidecar
    assert len(list((tmp_path / "bids/sub-01/anat").glob("*_echo-*_MESE.nii.gz"))) == 8
    names = ("desc-paramagnetic_Chimap", "desc-diamagnetic_Chimap", "R2map", "R2primemap")
    assert all((tmp_path / f"truth/sub-01/anat/sub-01_{name}.nii.gz").is_file() for name in names)
    subject._drawn_head.cache_clear()
