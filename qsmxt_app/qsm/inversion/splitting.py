"""Total variation inversion by variable splitting, with any pointwise data term."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.inversion.variation import gradient_adjoint, shrink_gradient
from qsmxt_app.qsm.padded_grid import PaddedGrid

MARGIN_MM = 16.0

DataStep = Callable[[FloatArray], FloatArray]


def invert_by_splitting(
    grid: PaddedGrid,
    b0_direction: Sequence[float],
    data_step: DataStep,
    *,
    strength: float,
    gradient_penalty: float,
    field_penalty: float,
    tolerance: float,
    max_iterations: int,
) -> tuple[FloatArray, int, bool]:
    """Minimise ``data(D chi) + strength * sum |grad chi|`` by alternating directions (ADMM).

    The gradient and the field are variables of their own, so that chi is found by one division in k-space and
    the data term, whatever its weights and shape, voxel by voxel.

    Parameters
    ----------
    grid
        The box of the mask.
    b0_direction
        Unit vector of B0 in voxel axes.
    data_step
        Maps v to the field z that minimises ``data(z) + field_penalty / 2 * ||z - v||^2``.
    strength
        Factor of the total variation, mm.
    gradient_penalty
        Weight of the coupling between chi and its gradient, mm^2; it sets the speed, not the result.
    field_penalty
        Weight of the coupling between chi and its field.
    tolerance
        Change of chi inside the mask an iteration, relative to its norm, at which to stop.
    max_iterations
        Cap on the iterations.

    Returns
    -------
    chi : ndarray (x, y, z)
        In the box.
    iterations : int
    converged : bool

    References
    ----------
    Bilgic B, Fan AP, Polimeni JR, et al. Magn Reson Med 72:1444-1459 (2014). doi:10.1002/mrm.25029
    """
    kernel = grid.dipole_kernel(b0_direction)
    inverse = gradient_penalty * grid.squared_gradient() + field_penalty * kernel**2
    inverse[0, 0, 0] = 1.0  # neither the field nor the gradient knows the mean
    np.divide(1, inverse, out=inverse)
    inverse[0, 0, 0] = 0.0
    size = np.asarray(grid.voxel_size, np.float32)
    chi = np.zeros(grid.shape, np.float32)
    field = data_step(chi)
    field_dual = -field
    field_target = field - field_dual
    dual = np.zeros((3, *grid.shape), np.float32)
    target = np.zeros_like(dual)
    divergence = np.zeros_like(chi)
    threshold = np.float32(strength / gradient_penalty)
    iteration, converged = 0, False
    while not converged and iteration < max_iterations:
        spectrum = grid.forward(field_target)
        spectrum *= np.float32(field_penalty) * kernel
        gradient_adjoint(divergence, target, size)
        spectrum += np.float32(gradient_penalty) * grid.forward(divergence)
        spectrum *= inverse
        previous, chi = chi, grid.backward(spectrum.copy())
        spectrum *= kernel
        shifted = grid.backward(spectrum)
        shifted += field_dual
        field = data_step(shifted)
        field_dual = shifted - field
        field_target = field - field_dual
        shrink_gradient(chi, dual, target, threshold, size)
        iteration += 1
        change = float(np.linalg.norm((chi - previous)[grid.mask]))
        converged = iteration > 1 and change <= tolerance * float(np.linalg.norm(chi[grid.mask]))
    return chi, iteration, converged
