"""What is given back to the measured Laplacian while the iteration runs.

It changes the data and not the operators, so that an iteration costs what it did.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.problem import Problem

_RESIDUAL_WIDTH_VOXELS = 2.0
"""Full width at half maximum of the Gaussian that smooths a residual before it is given back."""

_LEAST_WEIGHT = 0.01


def return_residual(problem: Problem, share: float) -> None:
    """Give a share of the smoothed residual field back to the data.

    Regularisation lowers contrast and leaves the field of what is missing in the residual, over all of a
    structure, while noise changes from voxel to voxel. Residuals that are smoothed and added back restore
    the former at little of the latter.

    Parameters
    ----------
    problem
        Its Laplacian is changed.
    share
        Of the residual.

    References
    ----------
    Tukey JW. Exploratory Data Analysis, Addison-Wesley (1977), "twicing".
    Osher S, Burger M, Goldfarb D, Xu J, Yin W. Multiscale Model Simul 4:460-489 (2005).
    """
    rows = problem.rows
    weight = problem.state[sweep.WEIGHT]
    weight = rows.unflatten(np.where(weight < sweep.HELD, weight, 0))
    residual = rows.unflatten(problem.state[sweep.PHI])
    smooth = _smoothed(residual, weight, _RESIDUAL_WIDTH_VOXELS)
    second = sum(
        float(problem.coefficients[sweep.C_LX + axis])
        * (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis) - 2 * smooth)
        for axis in range(3)
    )
    change = np.float32(-share) * rows.flatten(np.asarray(second)) * (problem.flags & sweep.EQUATION != 0)
    problem.state[sweep.LAPLACIAN] += change


def _smoothed(image: FloatArray, weight: FloatArray, width: float) -> FloatArray:
    """Weighted mean over a Gaussian of a full width at half maximum in voxels; 0 where weights are tiny."""
    sigma = width / np.sqrt(8 * np.log(2))
    cover, total = (
        scipy.ndimage.gaussian_filter(a, sigma, mode="constant", truncate=3) for a in (weight, weight * image)
    )
    return np.asarray(np.divide(total, cover, out=np.zeros_like(total), where=cover > _LEAST_WEIGHT))
