"""Phase that was high-pass filtered before it came."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmxt_app.qsm.phase_checks import filter_warning, slow_alignment

X, Y, Z = (axis - 15.5 for axis in np.indices((32, 32, 32)).astype(np.float32))
MASK = X**2 + Y**2 + Z**2 < 14**2
SIZE = (4.0, 4.0, 4.0)
RAW = 4 * np.exp(-((X - 8) ** 2 + Z**2) / 80) - 2 * np.exp(-((Y + 6) ** 2) / 60) + 0.3 * np.sin(X) + 0.2
FLAT = 0.3 * np.sin(X)


def filtered(phase, mm):
    signal = MASK * np.exp(1j * phase)
    low = gaussian_filter(signal.real, mm / 4) + 1j * gaussian_filter(signal.imag, mm / 4)
    return np.angle(signal * np.conj(low)).astype(np.float32)


@pytest.mark.parametrize("mm", [6, 9, 12])
def test_filtered_phase_is_named(mm):
    (warning,) = filter_warning(filtered(RAW, mm), mask=MASK, voxel_size=SIZE, evolution=0.06)
    assert "high-pass filtered" in warning


def test_raw_phase_is_not():
    assert filter_warning(RAW, mask=MASK, voxel_size=SIZE, evolution=0.06) == ()
    assert slow_alignment(RAW, mask=MASK, voxel_size=SIZE)[0] < 0.8


def test_flat_phase_of_an_early_echo_or_with_an_offset_is_not():
    assert filter_warning(FLAT, mask=MASK, voxel_size=SIZE, evolution=0.01) == ()
    assert filter_warning(FLAT + 1.0, mask=MASK, voxel_size=SIZE, evolution=0.06) == ()
    assert len(filter_warning(FLAT, mask=MASK, voxel_size=SIZE, evolution=0.06)) == 1
