"""Separated sources by the whole command, with spin echoes that were scanned after the head had moved."""

import json

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import SHAPE, mini_head, write_mini_dataset
from scipy.spatial.transform import Rotation

from qsmxt_app.bids.acquisition import R2Images
from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.validation import validate_dataset
from qsmxt_app.cli import main
from qsmxt_app.config import load_settings
from qsmxt_app.registration import Image, apply, linear
from qsmxt_app.workflows.nodes.r2 import read_r2
from qsmxt_app.workflows.plan import plan_scan

TIMES = (0.01, 0.02, 0.04, 0.08)
R2 = 12.0


def write_spin_echoes(raw):
    """R2 of 12 1/s, and 30 in the nuclei, after a motion of 2 mm and 2 degrees."""
    folder = raw / "sub-01" / "anat"
    image = nib.load(folder / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    head, motion = mini_head(), np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", 2, degrees=True).as_matrix()
    motion[:3, 3] = (2, 0, 0)
    grid = Image(np.zeros(SHAPE, np.float32), image.affine).grid
    r2 = np.where(head.nuclei > 0, 30.0, R2)
    for echo, time in enumerate(TIMES, start=1):
        signal = Image(np.float32(head.head * 500 * np.exp(-time * r2)), image.affine)
        moved = apply(signal, grid, linear(motion)).array
        stem = folder / f"sub-01_echo-{echo}_MESE"
        nib.save(nib.Nifti1Image(moved, image.affine), f"{stem}.nii.gz")
        stem.with_suffix(".json").write_text(json.dumps({"EchoTime": time}))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    raw = write_mini_dataset(tmp_path_factory.mktemp("separation") / "raw")
    write_spin_echoes(raw)
    return raw


def test_sources_and_r2_are_written_and_told(raw, tmp_path):
    out = tmp_path / "out"
    options = ["--separation", "auto", "--no-two-pass", "--no-swi", "--segmentation", "none"]
    assert main([str(raw), str(out), "participant", *options, "--skip-bids-validation"]) == 0
    validate_dataset(out, config=None)

    def image(name):
        return nib.load(out / "sub-01" / "anat" / f"sub-01_{name}.nii.gz").get_fdata()

    head, mask = mini_head(), image("desc-qsm_mask") > 0
    inner = mask & head.head & (head.nuclei == 0)
    assert np.median(image("R2map")[inner]) == pytest.approx(R2, rel=0.05)
    plus, minus = image("desc-paramagnetic_Chimap"), image("desc-diamagnetic_Chimap")
    assert min(plus.min(), minus.min()) >= 0
    assert not plus[~mask].any()
    # beside the reference, the difference of both is chi
    difference = (plus - minus - image("Chimap"))[inner]
    assert np.quantile(abs(difference - np.median(difference)), 0.8) < 0.01
    sidecar = json.loads((out / "sub-01" / "anat" / "sub-01_desc-diamagnetic_Chimap.json").read_text())
    assert (sidecar["Method"], sidecar["Separation"], sidecar["Relaxivity"]) == ("joint", "auto", 137.0)
    assert "negative of this map" in sidecar["EstimationAlgorithm"]
    text = (out / "logs" / "CITATION.md").read_text()
    assert "R2 was measured and registered rigidly" in text
    assert "Shin et al., 2021" in text
    assert "Paramagnetic sources" in (out / "sub-01.html").read_text()


def test_r2_is_a_step_where_something_uses_it(raw):
    acquisition = find_acquisitions(open_dataset(raw)).acquisitions[0]
    for choice, there in (("none", False), ("closed_form", True)):
        settings = load_settings({"segmentation": "none", "separation": choice})
        steps = [step.name for step in plan_scan(acquisition, settings).maps]
        assert ("r2" in steps, "separation" in steps) == (there, there)


def test_maps_are_read_in_their_units(tmp_path):
    values = np.full((4, 4, 4), 50.0, np.float32)
    values[0], values[1, 0, 0] = 0, np.nan
    file = tmp_path / "sub-01_T2map.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), file)
    _, r2 = read_r2(R2Images("T2map", (file,), scale=1e-3))
    assert r2[2, 2, 2] == pytest.approx(20.0)
    assert (r2[0, 0, 0], r2[1, 0, 0]) == (0, 0)
