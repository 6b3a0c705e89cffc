"""Background removal by iterated spherical mean values (iSMV)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.background.spheres import (
    eroded,
    require_voxels,
    sphere_box,
    sphere_result,
    sphere_spectrum,
)
from qsmxt_app.qsm.method import Method


def ismv(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    weights: NDArray | None = None,
    radius: float | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
    threads: int | None = None,
) -> BackgroundRemoval:
    """Iterative spherical mean values: the background is what averaging over spheres leaves as it is.

    Where the sphere leaves the mask, the total field is taken for the background.

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
        Radius of the sphere in mm; where not given 4, or twice the longest voxel edge if that is more. The
        iterations grow as the inverse square of it.
    tolerance
        Change of the background an iteration, relative to the total field (norms inside the mask), at which
        to stop. Most of the total field is background, so little of it is much of the local field.
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
    Wen Y, Zhou D, Liu T, Spincemaille P, Wang Y. Magn Reson Med 72:1065-1071 (2014). doi:10.1002/mrm.24998
    """
    radius = max(4.0, 2 * max(voxel_size)) if radius is None else radius
    grid, field = sphere_box(total_field, mask, voxel_size, weights, radius, threads)
    kernel = sphere_spectrum(grid, radius)
    inner = eroded(grid, kernel)
    require_voxels(inner, radius)
    target = tolerance * float(np.linalg.norm(field))
    background, iterations, converged = field.copy(), 0, False
    while not converged and iterations < max_iterations:
        averaged = grid.convolve(background, kernel)[inner]
        change = float(np.linalg.norm(averaged - background[inner]))
        background[inner] = averaged
        iterations += 1
        converged = change <= target
    local = field - background
    return sphere_result(grid, local, inner, iterations, converged)


METHOD = Method(
    ismv,
    phrase="the iterative spherical mean value method [@wen2014]",
    needs=("voxel_size", "weights", "threads"),
    units={"tolerance": "", "max_iterations": ""},
    papers=(
        Reference(
            key="wen2014",
            short="Wen et al., 2014",
            authors=(
                "Wen, Yan",
                "Zhou, Dong",
                "Liu, Tian",
                "Spincemaille, Pascal",
                "Wang, Yi",
            ),
            title="An iterative spherical mean value method for background field removal in MRI",
            journal="Magnetic Resonance in Medicine",
            year=2014,
            volume="72",
            pages="1065-1071",
            doi="10.1002/mrm.24998",
        ),
    ),
)
