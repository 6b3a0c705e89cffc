"""How far a TGV-QSM map is expected to lie from the truth."""

from __future__ import annotations

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.noise_response import inner_part

LOST_DETAIL_PPM = 0.008
"""Error of simulated heads without noise: texture and small structures that regularisation takes off."""

LOST_AT_RIM_PPM = 0.018
"""The same in the outermost voxels of the mask."""

LOST_BY_NOISE = 0.7
"""Error by stronger regularisation of noisy data, in units of the noise that is left in the map."""


def expected_error(noise: FloatArray, mask: BoolArray) -> FloatArray:
    """Root mean square error of susceptibility, regularisation included.

    Noise and lost detail add by their squares. That detail cannot be measured in the scan itself: its size is
    that of simulated heads (2 and 3 mm; 1.5, 3 and 7 T; signal-to-noise ratio 7 to 80), in which errors over
    this expectation have a standard deviation of 0.8 to 1.3 in white matter, cortex and deep grey nuclei.

    Parameters
    ----------
    noise : ndarray (x, y, z)
        Standard deviation of chi over repeated scans, ppm.
    mask : ndarray (x, y, z), bool
        Where chi is reconstructed.

    Returns
    -------
    ndarray (x, y, z)
        ppm, 0 outside the mask.
    """
    lost = np.where(inner_part(mask), np.float32(LOST_DETAIL_PPM), np.float32(LOST_AT_RIM_PPM))
    error = np.sqrt((1 + LOST_BY_NOISE**2) * noise**2 + lost**2)
    return np.where(mask, error, np.float32(0)).astype(np.float32)
