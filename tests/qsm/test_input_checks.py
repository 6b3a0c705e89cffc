"""Broken inputs of whole heads, each recognised as what it is; good ones left alone."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from benchmarks.faults import FAULTS, Stored, examine
from qsmxt_app.bids.headers import b0_direction
from qsmxt_app.simulate import Protocol, simulate_subject

TOLD = {
    "sign": "sign of the phase seems to be inverted",
    "coils-summed": "open-ended fringes",
    "coils-averaged": "open-ended fringes",
    "seconds-as-ms": "implausibly large",
    "magnitude-as-phase": "looks like a magnitude",
    "exchanged": "exchanged",
    "half-turn": "wrongly scaled",
    "units-of-pi": "wrongly scaled",
    "degrees-as-rad": "wrongly scaled",
    "mask-cut": "mask is cut off",
    "half-erased": "Part of the object is missing",
    "half-imaged": "half of the head",
    "noise-echo": "Echo 3 holds noise",
    "repeated-echo": "Echo 3 has the phase of echo 2",
}


@pytest.fixture(scope="module")
def scan():
    # other seeds, voxels and echoes: benchmarks/faults.py
    protocol = Protocol(
        voxel_size=(4.0, 4.0, 4.0),
        echo_times=(0.005, 0.011, 0.018),
        b0_direction=(0.0, 0.5, 0.8660254),
        snr=40,
    )
    s = simulate_subject(21, 1, protocol)
    return Stored(
        s.magnitude, s.phase, s.echo_times, tuple(s.voxel_size), tuple(s.b0_direction), s.field_strength
    )


@pytest.mark.parametrize("fault", TOLD)
def test_a_fault_is_named_first(scan, fault):
    warnings, _ = examine(FAULTS[fault](scan))
    assert warnings
    assert TOLD[fault] in warnings[0]


def test_every_fault_of_the_benchmark_is_tested():
    assert set(TOLD) == set(FAULTS) - {"good"}


def test_a_good_head_is_left_alone(scan):
    assert examine(scan)[0] == []


def philips(data):
    names = [data / "philips-3t" / "nifti_GRE" / f"2001_fcMRI_Field_Mapping_e{echo}" for echo in (1, 2)]
    images = [[nib.load(f"{name}{part}.nii.gz") for name in names] for part in ("", "_ph")]
    magnitude, phase = (np.stack([i.get_fdata(dtype=np.float32) for i in part], axis=-1) for part in images)
    affine = images[0][0].affine
    size = tuple(float(edge) for edge in nib.affines.voxel_sizes(affine))
    return Stored(magnitude, phase, np.array([0.0023, 0.0046]), size, b0_direction(affine), 3.0)


def test_real_heads_and_crops_are_left_alone_and_their_sign_is_known(test_data):
    head_scan = philips(test_data)
    assert examine(head_scan)[0] == []
    assert "inverted" in examine(replace(head_scan, phase=-head_scan.phase))[0][0]
    magnitude, phase = (nib.load(test_data / "megre-crop" / f"{part}.nii") for part in ("Mag", "Phase"))
    crop = Stored(
        magnitude.get_fdata(dtype=np.float32), phase.get_fdata(dtype=np.float32),
        np.array([0.004, 0.008, 0.012]), (0.47, 0.47, 1.0), (0.0, 0.0, 1.0), 3.0, units=None,
    )  # fmt: skip
    assert examine(crop)[0] == []
    assert "wrongly scaled" in examine(replace(crop, units="rad"))[0][0]
