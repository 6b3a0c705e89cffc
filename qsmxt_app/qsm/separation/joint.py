"""Both sources as one convex problem that chi and R2' share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import check_field, check_positive
from qsmxt_app.qsm.separation.closed_form import closed_form
from qsmxt_app.qsm.separation.data_step import step_sources
from qsmxt_app.qsm.separation.pair_variation import step_duals, step_vectors
from qsmxt_app.qsm.separation.result import SeparatedSources

PRIMAL_TO_DUAL = 3.0
"""Primal over dual step, which sets the speed alone."""
CHI_ERROR = 0.002
"""Error of chi in ppm that the noise of the field does not explain."""
_CHECK_EVERY = 10


def joint(
    chi: NDArray,
    mask: NDArray,
    *,
    r2prime: NDArray,
    r2prime_noise: NDArray,
    relaxivity: float,
    chi_noise: NDArray,
    voxel_size: Sequence[float],
    alpha1: float = 0.7,
    alpha0: float = 1.4,
    limit: float = 0.45,
    tolerance: float = 5e-3,
    max_iterations: int = 200,
) -> SeparatedSources:
    """Find the sources that agree with chi, with R2' and with smooth regions that share their borders.

    Minimises, over sources p and m that are not negative and vector fields v and w, ::

        sum (p - m - chi)^2 / (2 s_chi^2) + sum huber(p + m - R2' / relaxivity) / s_sum^2
            + alpha1 / s * sum |(grad p - v, grad m - w)| + alpha0 / s * sum |(E v, E w)|

    with E the symmetrised gradient, s the median noise of a voxel, and norms over both sources: total
    generalised variation of second order. R2' is believed up to `limit` s as squares, beyond it as absolute
    differences: in veins, and beside air, it is not the sum of the sources of its voxel. Solved by the
    primal-dual algorithm, from the closed form.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm, relative to water.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    r2prime, r2prime_noise : ndarray (x, y, z)
        R2' and its standard error, 1/s.
    relaxivity
        R2' of one ppm of sources, 1/s.
    chi_noise : ndarray (x, y, z)
        Standard error of chi, ppm.
    voxel_size
        Voxel edges in mm.
    alpha1, alpha0
        Weights of the first and second order, in mm and mm^2.
    limit
        Where Huber's loss becomes linear, in units of the median noise.
    tolerance
        Change of the sources in ten iterations, relative to their norm, at which to stop.
    max_iterations
        Cap on the iterations.

    Returns
    -------
    SeparatedSources

    Raises
    ------
    ValueError
        If the input cannot be used, or a parameter is not positive.

    References
    ----------
    Bredies K, Kunisch K, Pock T. SIAM J Imaging Sci 3:492-526 (2010). doi:10.1137/090769521
    Chambolle A, Pock T. J Math Imaging Vis 40:120-145 (2011). doi:10.1007/s10851-010-0251-1
    """
    check_field(chi, mask, voxel_size)
    check_positive(relaxivity=relaxivity, alpha1=alpha1, alpha0=alpha0, limit=limit)
    region = np.asarray(mask, bool)
    box = tuple(slice(int(used.min()), int(used.max()) + 1) for used in np.nonzero(region))

    def boxed(volume: NDArray) -> FloatArray:
        return np.pad(np.where(region[box], volume[box], 0).astype(np.float32), 1)

    inside = np.pad(region[box], 1)
    chi_error = np.hypot(boxed(chi_noise), np.float32(CHI_ERROR))
    sum_error = np.maximum(boxed(r2prime_noise / np.float32(relaxivity)), np.float32(1e-6))
    # everything in units of the noise, so that one strength and one step suit all scans
    unit = np.float32(np.median(np.hypot(chi_error, sum_error)[inside]))
    total = boxed(r2prime / np.float32(relaxivity))
    start = closed_form(boxed(chi), inside, r2prime=total, relaxivity=1.0)
    found, iterations, converged = _solve(
        np.stack([start.paramagnetic, start.diamagnetic]) / unit,
        (boxed(chi) / unit, _weights(unit, chi_error), total / unit, _weights(unit, sum_error)),
        np.float32(limit),
        inside,
        (1 / np.asarray(voxel_size)).astype(np.float32),
        (np.float32(alpha1), np.float32(alpha0)),
        tolerance,
        max_iterations,
    )
    sources = np.zeros((2, *region.shape), np.float32)
    sources[(slice(None), *box)] = found[:, 1:-1, 1:-1, 1:-1] * unit
    return SeparatedSources(sources[0], sources[1], iterations, converged)


def _weights(unit: np.float32, error: FloatArray) -> FloatArray:
    return np.asarray((unit / error) ** 2, np.float32)


def _solve(
    x: FloatArray,
    data: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    limit: np.float32,
    inside: NDArray[np.bool_],
    inverse_size: FloatArray,
    alpha: tuple[np.float32, np.float32],
    tolerance: float,
    max_iterations: int,
) -> tuple[FloatArray, int, bool]:
    """Iterate from `x`, which is updated in place."""
    # norm of the operator (x, w) -> (grad x - w, E w), whose gradients have this square at most
    squared = 4 * float((inverse_size**2).sum())
    norm = np.sqrt(squared + 0.5 + np.sqrt(squared + 0.25))
    down, up = np.float32(PRIMAL_TO_DUAL / norm), np.float32(1 / (PRIMAL_TO_DUAL * norm))
    shape = x.shape[1:]
    w, y, z = (np.zeros((2, n, *shape), np.float32) for n in (3, 3, 6))
    x_relaxed, w_relaxed, before = x.copy(), w.copy(), x.copy()
    iteration, converged = 0, False
    while not converged and iteration < max_iterations:
        step_duals(x_relaxed, w_relaxed, y, z, inside, inverse_size, up, *alpha)
        step_vectors(w, w_relaxed, y, z, inside, inverse_size, down)
        step_sources(x, x_relaxed, y, inside, inverse_size, down, *data, limit)
        iteration += 1
        if iteration % _CHECK_EVERY == 0:
            change = float(np.linalg.norm(x - before))
            converged = change <= tolerance * float(np.linalg.norm(x))
            before[:] = x
    return x, iteration, converged


METHOD = Method(
    joint,
    phrase=(
        "one convex problem with chi, R2' and their noise as data, and total generalised variation "
        "[@bredies2010] of both sources, solved by a primal-dual algorithm [@chambolle2011]"
    ),
    needs=("r2prime", "r2prime_noise", "relaxivity", "chi_noise", "voxel_size"),
    units={"alpha1": "mm", "alpha0": "mm^2", "limit": "", "tolerance": "", "max_iterations": ""},
)
