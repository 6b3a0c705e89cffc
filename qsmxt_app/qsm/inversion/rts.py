"""Rapid two-step inversion of a local field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients
from qsmxt_app.qsm.inversion.result import Inversion
from qsmxt_app.qsm.inversion.splitting import MARGIN_MM
from qsmxt_app.qsm.inversion.variation import gradient_adjoint, shrink_gradient
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive, in_box


def rts(
    local_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    weights: NDArray | None = None,
    noise: float = 1e-3,
    gradient_scale: float = 0.01,
    cone: float = 0.15,
    data_iterations: int = 4,
    tolerance: float = 1e-2,
    max_iterations: int = 30,
    margin: float = MARGIN_MM,
    threads: int | None = None,
) -> Inversion:
    """Rapid two-step inversion: data where the dipole is far from zero, sparse gradients where it is not.

    A few conjugate gradient steps recover what is well conditioned; then total variation fills k-space where
    ``|D| < cone`` and denoises the rest.

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
        Error of the field in ppm at the mean weight.
    gradient_scale
        Mean gradient of chi in ppm/mm.
    cone
        Size of the dipole kernel below which the first step is not used.
    data_iterations
        Iterations of the first step; few, since they regularise it.
    tolerance
        Change of chi an iteration, relative to its norm, at which the second step stops.
    max_iterations
        Cap on the iterations of the second step.
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
    Kames C, Wiggermann V, Rauscher A. NeuroImage 167:276-283 (2018). doi:10.1016/j.neuroimage.2017.11.018
    """
    check_field(local_field, mask, voxel_size, b0_direction, weights)
    check_positive(noise=noise, gradient_scale=gradient_scale, cone=cone)
    region = np.asarray(mask, bool)
    grid = PaddedGrid(region, voxel_size, margin=margin, threads=threads)
    kernel = grid.dipole_kernel(b0_direction)
    field, weight = in_box(grid, local_field, region, weights)

    def normal(chi: FloatArray) -> FloatArray:
        return grid.convolve(weight * grid.convolve(chi, kernel), kernel)

    rhs = grid.convolve(weight * field, kernel)
    first, _, _ = conjugate_gradients(normal, rhs, tolerance=1e-6, max_iterations=data_iterations)
    # chi is known to noise / |D|: a third is typical of the frequencies that the first step is used for
    strength = (3 * noise) ** 2 / gradient_scale
    chi, iterations, converged = _fill_cone(
        grid,
        first * grid.mask,
        np.abs(kernel) >= cone,
        strength,
        strength / gradient_scale,
        tolerance,
        max_iterations,
    )
    return Inversion(grid.extract(chi), iterations, converged)


def _fill_cone(
    grid: PaddedGrid,
    first: FloatArray,
    measured: NDArray[np.bool_],
    strength: float,
    penalty: float,
    tolerance: float,
    max_iterations: int,
) -> tuple[FloatArray, int, bool]:
    inverse = measured + penalty * grid.squared_gradient()
    inverse[0, 0, 0] = 1.0
    np.divide(1, inverse, out=inverse)
    known = grid.forward(first) * measured
    size = np.asarray(grid.voxel_size, np.float32)
    chi = first
    dual = np.zeros((3, *grid.shape), np.float32)
    target = np.zeros_like(dual)
    divergence = np.zeros_like(chi)
    shrink_gradient(chi, dual, target, np.float32(strength / penalty), size)
    iteration, converged = 0, False
    while not converged and iteration < max_iterations:
        gradient_adjoint(divergence, target, size)
        spectrum = grid.forward(divergence)
        spectrum *= np.float32(penalty)
        spectrum += known
        spectrum *= inverse
        previous, chi = chi, grid.backward(spectrum)
        shrink_gradient(chi, dual, target, np.float32(strength / penalty), size)
        iteration += 1
        change = float(np.linalg.norm((chi - previous)[grid.mask]))
        converged = change <= tolerance * float(np.linalg.norm(chi[grid.mask]))
    return chi, iteration, converged


METHOD = Method(
    rts,
    phrase="rapid two-step dipole inversion [@kames2018]",
    needs=("voxel_size", "b0_direction", "weights", "noise", "threads"),
    units={
        "gradient_scale": "ppm/mm",
        "cone": "",
        "data_iterations": "",
        "tolerance": "",
        "max_iterations": "",
        "margin": "mm",
    },
    papers=(
        Reference(
            key="kames2018",
            short="Kames et al., 2018",
            authors=(
                "Kames, Christian",
                "Wiggermann, Vanessa",
                "Rauscher, Alexander",
            ),
            title="Rapid two-step dipole inversion for susceptibility mapping with sparsity priors",
            journal="NeuroImage",
            year=2018,
            volume="167",
            pages="276-283",
            doi="10.1016/j.neuroimage.2017.11.018",
        ),
    ),
)
