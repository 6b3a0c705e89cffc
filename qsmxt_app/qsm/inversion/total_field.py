"""From the total field to the susceptibility in one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.qsm.background.joint import JointModel
from qsmxt_app.qsm.inversion.result import TotalFieldInversion
from qsmxt_app.qsm.inversion.tv import tv
from qsmxt_app.qsm.inversion.variation import ReweightedVariation
from qsmxt_app.qsm.padded_grid import check_field, check_positive


def total_field_inversion(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    weights: NDArray | None = None,
    noise: float = 1e-3,
    gradient_scale: float = 0.01,
    spread: float = 0.05,
    tolerance: float = 2e-2,
    max_reweightings: int = 8,
    iterations_per_reweighting: int = 12,
    refine: bool = True,
    threads: int | None = None,
) -> TotalFieldInversion:
    """Total variation inversion of the total field, its background a free harmonic field.

    Minimises ``1/2 sum w ((f - D chi - h) / noise)^2 + sum |grad chi| / gradient_scale`` over chi inside the
    mask and h harmonic in it. The prior so decides what of the field is local: two steps would have to decide
    before. Iteratively reweighted least squares, each solved by conjugate gradients in chi and the values of
    h at the border.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in ppm, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest; all of it is reconstructed.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit; uniform where not given.
    noise
        Error of the field in ppm at the mean weight; what the model cannot describe is part of it.
    gradient_scale
        Mean gradient of chi in ppm/mm (the scale of its Laplace distribution).
    spread
        Standard deviation of chi in ppm, the prior of the first quadratic fit.
    tolerance
        Change of chi, relative to its norm, at which the reweighting stops.
    max_reweightings
        Cap on the reweightings.
    iterations_per_reweighting
        Conjugate gradient steps between them.
    refine
        Invert the local field that was found once more by :func:`qsmxt_app.qsm.inversion.tv`, whose sources
        may lie a little outside the mask: what was split off wrongly goes there.
    threads
        Threads of the FFT.

    Returns
    -------
    TotalFieldInversion

    Raises
    ------
    ValueError
        If the input cannot be used, or a parameter is not positive.

    References
    ----------
    Liu Z, Kee Y, Zhou D, Wang Y, Spincemaille P. Magn Reson Med 78:303-315 (2017). doi:10.1002/mrm.26331
    """
    check_field(total_field, mask, voxel_size, b0_direction, weights)
    check_positive(noise=noise, gradient_scale=gradient_scale, spread=spread)
    model = JointModel(
        total_field,
        np.asarray(mask, bool),
        voxel_size=voxel_size,
        b0_direction=b0_direction,
        weights=weights,
        noise=noise,
        scale=spread,
        threads=threads,
    )
    precision = np.float32(1 / spread**2)
    unknowns, iterations, _ = model.fit(
        lambda chi: precision * chi, None, tolerance=1e-2, max_iterations=2 * iterations_per_reweighting
    )
    converged = False
    for _ in range(max_reweightings):
        previous = unknowns[0]
        # a tenth of the expected gradient is flat
        variation = ReweightedVariation(
            previous, model.grid.mask, voxel_size, 1 / gradient_scale, gradient_scale / 10
        )
        unknowns, steps, _ = model.fit(
            variation, unknowns, tolerance=1e-3, max_iterations=iterations_per_reweighting
        )
        iterations += steps
        change = float(np.linalg.norm(unknowns[0] - previous))
        converged = change <= tolerance * float(np.linalg.norm(unknowns[0]))
        if converged:
            break
    chi, local_field = model.grid.extract(unknowns[0]), model.local_field(unknowns)
    if refine:
        refined = tv(
            local_field,
            mask,
            voxel_size=voxel_size,
            b0_direction=b0_direction,
            weights=weights,
            noise=noise,
            gradient_scale=gradient_scale,
            threads=threads,
        )
        chi, iterations = refined.chi, iterations + refined.iterations
    return TotalFieldInversion(chi, iterations, converged, local_field)
