"""Weighted total variation inversion of a local field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.inversion.result import Inversion
from qsmxt_app.qsm.inversion.splitting import MARGIN_MM, invert_by_splitting
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive, in_box


def tv(
    local_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    weights: NDArray | None = None,
    noise: float = 1e-3,
    gradient_scale: float = 0.01,
    tolerance: float = 5e-3,
    max_iterations: int = 150,
    margin: float = MARGIN_MM,
    threads: int | None = None,
) -> Inversion:
    """Total variation inversion with a weighted linear data term.

    Minimises ``1/2 sum w ((f - D chi) / noise)^2 + sum |grad chi| / gradient_scale``: the most probable map
    for Gaussian noise and a Laplace distribution of gradients.

    Parameters
    ----------
    local_field : ndarray (x, y, z)
        Field in ppm, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit; uniform where not given.
    noise
        Error of the field in ppm at the mean weight; what is left of the background is part of it.
    gradient_scale
        Mean gradient of chi in ppm/mm.
    tolerance
        Change of chi an iteration, relative to its norm, at which to stop.
    max_iterations
        Cap on the iterations.
    margin
        Empty space in mm around the mask, against the periodic copies of the FFT.
    threads
        Threads of the FFT.

    Returns
    -------
    Inversion

    Raises
    ------
    ValueError
        If the input cannot be used, or a parameter is not positive.

    References
    ----------
    Bilgic B, Fan AP, Polimeni JR, et al. Magn Reson Med 72:1444-1459 (2014). doi:10.1002/mrm.25029
    """
    check_field(local_field, mask, voxel_size, b0_direction, weights)
    check_positive(noise=noise, gradient_scale=gradient_scale)
    region = np.asarray(mask, bool)
    grid = PaddedGrid(region, voxel_size, margin=margin, threads=threads)
    field, weight = in_box(grid, local_field, region, weights)
    weighted_field = weight * field
    # in units of the data term at the mean weight
    strength = noise**2 / gradient_scale
    penalty = np.float32(1.0)

    def data_step(v: FloatArray) -> FloatArray:
        z: FloatArray = (weighted_field + penalty * v) / (weight + penalty)
        return z

    chi, iterations, converged = invert_by_splitting(
        grid,
        b0_direction,
        data_step,
        strength=strength,
        gradient_penalty=strength / gradient_scale,
        field_penalty=float(penalty),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    return Inversion(grid.extract(chi), iterations, converged)


METHOD = Method(
    tv,
    phrase="dipole inversion with total-variation regularisation, solved by variable splitting [@bilgic2014]",
    needs=("voxel_size", "b0_direction", "weights", "noise", "threads"),
    units={"gradient_scale": "ppm/mm", "tolerance": "", "max_iterations": "", "margin": "mm"},
    papers=(
        Reference(
            key="bilgic2014",
            short="Bilgic et al., 2014",
            authors=(
                "Bilgic, Berkin",
                "Fan, Audrey P.",
                "Polimeni, Jonathan R.",
                "Cauley, Stephen F.",
                "Bianciardi, Marta",
                "Adalsteinsson, Elfar",
                "Wald, Lawrence L.",
                "Setsompop, Kawin",
            ),
            title="Fast quantitative susceptibility mapping with L1-regularization and automatic parameter "
            "selection",
            journal="Magnetic Resonance in Medicine",
            year=2014,
            volume="72",
            pages="1444-1459",
            doi="10.1002/mrm.25029",
        ),
    ),
)
