"""Background removal by a regularised spherical mean value filter (RESHARP)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.background.spheres import (
    eroded,
    require_voxels,
    sphere_box,
    sphere_result,
    sphere_spectrum,
)
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients
from qsmxt_app.qsm.method import Method


def resharp(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    weights: NDArray | None = None,
    radius: float = 6.0,
    regularisation: float = 5e-4,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
    threads: int | None = None,
) -> BackgroundRemoval:
    """Regularisation-enabled SHARP: the local field of least norm that has the filtered total field.

    Minimises ``||M (delta - sphere) * (field - local)||^2 + regularisation ||local||^2``, M being the mask
    eroded by the sphere.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in any unit, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest; the returned mask is eroded by the sphere.
    voxel_size
        Voxel edges in mm.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit, for the border only as in V-SHARP.
    radius
        Radius of the sphere in mm.
    regularisation
        Weight of the norm of the local field.
    tolerance
        Relative residual at which the conjugate gradients stop.
    max_iterations
        Cap on the iterations.
    threads
        Threads of the FFT.

    Returns
    -------
    BackgroundRemoval

    Raises
    ------
    ValueError
        If the input cannot be used, or the sphere does not fit into the mask.

    References
    ----------
    Sun H, Wilman AH. Magn Reson Med 71:1151-1157 (2014). doi:10.1002/mrm.24765
    """
    grid, field = sphere_box(total_field, mask, voxel_size, weights, radius, threads)
    kernel = 1 - sphere_spectrum(grid, radius)
    inner = eroded(grid, 1 - kernel)
    require_voxels(inner, radius)

    def normal(x: FloatArray) -> FloatArray:
        return grid.convolve(grid.convolve(x, kernel) * inner, kernel) + np.float32(regularisation) * x

    filtered = grid.convolve(field, kernel) * inner
    local, iterations, converged = conjugate_gradients(
        normal, grid.convolve(filtered, kernel), tolerance=tolerance, max_iterations=max_iterations
    )
    return sphere_result(grid, local, inner, iterations, converged)


METHOD = Method(
    resharp,
    phrase="RESHARP [@sun2014]",
    needs=("voxel_size", "weights", "threads"),
    units={"radius": "mm", "regularisation": "", "tolerance": "", "max_iterations": ""},
    papers=(
        Reference(
            key="sun2014",
            short="Sun and Wilman, 2014",
            authors=(
                "Sun, Hongfu",
                "Wilman, Alan H.",
            ),
            title="Background field removal using spherical mean value filtering and Tikhonov regularization",
            journal="Magnetic Resonance in Medicine",
            year=2014,
            volume="71",
            pages="1151-1157",
            doi="10.1002/mrm.24765",
        ),
    ),
)
