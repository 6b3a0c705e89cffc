"""Weighted nonlinear total variation inversion of a local field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.inversion.result import Inversion
from qsmxt_app.qsm.inversion.splitting import MARGIN_MM, invert_by_splitting
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive, in_box

NEWTON_STEPS = 4


def nonlinear(
    local_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    weights: NDArray | None = None,
    noise: float = 1e-3,
    gradient_scale: float = 0.01,
    echo_time: float = 0.005,
    field_strength: float = 3.0,
    tolerance: float = 5e-3,
    max_iterations: int = 150,
    margin: float = MARGIN_MM,
    threads: int | None = None,
) -> Inversion:
    """Total variation inversion with a data term that compares complex signals.

    As :func:`qsmxt_app.qsm.inversion.tv`, with ``2 - 2 cos(s (f - D chi))`` for the square of ``s (f - D
    chi)``, s being the phase in rad that 1 ppm makes at the echo time: an error by a whole cycle costs
    nothing, and a large one less than its square.

    Parameters
    ----------
    local_field : ndarray (x, y, z)
        Field in ppm, read inside the mask; whole cycles at `echo_time` may be missing.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit; uniform where not given.
    noise
        Error of the field in ppm at the mean weight.
    gradient_scale
        Mean gradient of chi in ppm/mm.
    echo_time
        Time in s after which phases are compared: the echo spacing, over which a field fitted to several
        echoes is unambiguous, or the echo time of a single echo.
    field_strength
        B0 in T.
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
    Milovic C, Bilgic B, Zhao B, Acosta-Cabronero J, Tejos C. Magn Reson Med 80:814-821 (2018).
    doi:10.1002/mrm.27073
    Polak D, Chatnuntawech I, Yoon J, et al. NMR Biomed 33:e4271 (2020). doi:10.1002/nbm.4271
    """
    check_field(local_field, mask, voxel_size, b0_direction, weights)
    check_positive(noise=noise, gradient_scale=gradient_scale, echo_time=echo_time)
    region = np.asarray(mask, bool)
    grid = PaddedGrid(region, voxel_size, margin=margin, threads=threads)
    field, weight = in_box(grid, local_field, region, weights)
    scale = np.float32(2 * np.pi * echo_time * hz_per_ppm(field_strength))
    strength = noise**2 / gradient_scale
    penalty = np.float32(1.0)

    def data_step(v: FloatArray) -> FloatArray:
        z: FloatArray = (weight * field + penalty * v) / (weight + penalty)
        for _ in range(NEWTON_STEPS):
            angle = scale * (z - field)
            slope = weight * np.sin(angle) / scale + penalty * (z - v)
            # the curvature of the cosine may be negative: its size keeps the step a descent
            z = z - slope / (weight * np.abs(np.cos(angle)) + penalty)
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
    nonlinear,
    phrase="nonlinear dipole inversion [@liu2013] with total-variation regularisation [@milovic2018]",
    needs=("voxel_size", "b0_direction", "weights", "noise", "echo_time", "field_strength", "threads"),
    units={"gradient_scale": "ppm/mm", "tolerance": "", "max_iterations": "", "margin": "mm"},
    papers=(
        Reference(
            key="milovic2018",
            short="Milovic et al., 2018",
            authors=(
                "Milovic, Carlos",
                "Bilgic, Berkin",
                "Zhao, Bo",
                "Acosta-Cabronero, Julio",
                "Tejos, Cristian",
            ),
            title="Fast nonlinear susceptibility inversion with variational regularization",
            journal="Magnetic Resonance in Medicine",
            year=2018,
            volume="80",
            pages="814-821",
            doi="10.1002/mrm.27073",
        ),
    ),
)
