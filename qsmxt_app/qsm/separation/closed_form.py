"""Sources of both kinds from their sum and their difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.separation.result import SeparatedSources


def closed_form(chi: NDArray, mask: NDArray, *, r2prime: NDArray, relaxivity: float) -> SeparatedSources:
    """Solve voxel by voxel: the difference of both sources is chi, and their sum R2' over its relaxivity.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm, relative to water.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    r2prime : ndarray (x, y, z)
        1/s.
    relaxivity
        R2' of one ppm of sources, 1/s.

    Returns
    -------
    SeparatedSources
        What would be negative is zero.

    References
    ----------
    Shin HG, Lee J, Yun YH, et al. NeuroImage 240:118371 (2021). doi:10.1016/j.neuroimage.2021.118371
    """
    total = r2prime / np.float32(relaxivity)
    paramagnetic = np.where(mask, np.maximum((total + chi) / 2, 0), 0).astype(np.float32)
    diamagnetic = np.where(mask, np.maximum((total - chi) / 2, 0), 0).astype(np.float32)
    return SeparatedSources(paramagnetic, diamagnetic)


METHOD = Method(
    closed_form,
    phrase="the closed form, voxel by voxel, without negative values [@shin2021]",
    needs=("r2prime", "relaxivity"),
)
