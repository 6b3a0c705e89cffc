"""Source separation by the dipole field of both sources, with edges where the magnitude has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients
from qsmxt_app.qsm.inversion.splitting import MARGIN_MM
from qsmxt_app.qsm.inversion.variation import gradient_adjoint
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive
from qsmxt_app.qsm.separation.closed_form import closed_form
from qsmxt_app.qsm.separation.result import SeparatedSources

EDGE_SHARE = 0.3
"""Share of the voxels in which the magnitude has an edge, where sources may have one too."""
SMALL_GRADIENT = 1e-3
"""Gradient of a source in ppm/mm up to which its absolute value is smoothed."""
_INNER_ITERATIONS, _INNER_TOLERANCE = 12, 0.05


def chi_separation(
    chi: NDArray,
    mask: NDArray,
    *,
    r2prime: NDArray,
    relaxivity: float,
    magnitude: NDArray,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    strength: float = 2e-4,
    total_weight: float = 0.1,
    tolerance: float = 0.01,
    max_iterations: int = 8,
    threads: int | None = None,
) -> SeparatedSources:
    """Fit the dipole field of the difference of both sources, and R2' by their sum.

    Minimises, over sources p and m that are not negative, ``1/2 |D (p - m) - f|^2 + total_weight / 2
    |p + m - R2' / relaxivity|^2 + strength |M grad p| + strength |M grad m|``, with D the convolution with a
    unit dipole, f the field of chi, and M one where the magnitude has no edge: the convex problem of Shin
    2021 in the manner of MEDI, by lagged diffusivity. What would be negative is set to zero in every round.

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
    magnitude : ndarray (x, y, z)
        Combined over echoes.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    strength
        Weight of the gradients, ppm mm.
    total_weight
        Weight of R2' against the field.
    tolerance
        Change of the sources in a round, relative to their norm, at which to stop.
    max_iterations
        Cap on the rounds.
    threads
        Threads of the FFT.

    Returns
    -------
    SeparatedSources

    Raises
    ------
    ValueError
        If the input cannot be used, or a parameter is not positive.

    References
    ----------
    Shin HG, Lee J, Yun YH, et al. NeuroImage 240:118371 (2021). doi:10.1016/j.neuroimage.2021.118371
    Liu J, Liu T, de Rochefort L, et al. NeuroImage 59:2560-2568 (2012). doi:10.1016/j.neuroimage.2011.08.082
    """
    check_field(chi, mask, voxel_size, b0_direction)
    check_positive(relaxivity=relaxivity, strength=strength, total_weight=total_weight)
    region = np.asarray(mask, bool)
    grid = PaddedGrid(region, voxel_size, margin=MARGIN_MM, threads=threads)
    kernel, size = grid.dipole_kernel(b0_direction), np.asarray(grid.voxel_size, np.float32)
    inside, weight = grid.mask.astype(np.float32), np.float32(total_weight)
    flat = _without_edges(grid.embed_masked(magnitude), grid.mask, size)

    def to_field(difference: FloatArray) -> FloatArray:
        return inside * grid.convolve(inside * difference, kernel)

    start = closed_form(chi, region, r2prime=r2prime, relaxivity=relaxivity)
    x = np.stack([grid.embed(start.paramagnetic), grid.embed(start.diamagnetic)])
    data = to_field(to_field(grid.embed(chi)))  # the convolution is its own adjoint
    total = weight * grid.embed_masked(r2prime / relaxivity)
    iteration, converged = 0, False
    while not converged and iteration < max_iterations:
        diffusivity = [np.float32(strength) * flat / _slope(one, size) for one in x]

        def normal(v: FloatArray, diffusivity: Sequence[FloatArray] = diffusivity) -> FloatArray:
            difference, both = to_field(to_field(v[0] - v[1])), weight * inside * (v[0] + v[1])
            smooth = [_diffused(one, k, size) for one, k in zip(v, diffusivity, strict=True)]
            return np.stack([both + difference + smooth[0], both - difference + smooth[1]])

        residual = np.stack([total + data, total - data]) - normal(x)
        step, _, _ = conjugate_gradients(
            normal, residual, tolerance=_INNER_TOLERANCE, max_iterations=_INNER_ITERATIONS
        )
        previous, x = x, inside * np.maximum(x + step, 0)
        iteration += 1
        converged = float(np.linalg.norm(x - previous)) <= tolerance * float(np.linalg.norm(x))
    return SeparatedSources(grid.extract(x[0]), grid.extract(x[1]), iteration, converged)


def _gradient(image: FloatArray, size: FloatArray) -> FloatArray:
    """Periodic forward differences, (3, x, y, z)."""
    return np.stack([(np.roll(image, -1, axis) - image) / size[axis] for axis in range(3)])


def _slope(image: FloatArray, size: FloatArray) -> FloatArray:
    squared = (_gradient(image, size) ** 2).sum(0)
    return np.asarray(np.sqrt(squared + np.float32(SMALL_GRADIENT) ** 2), np.float32)


def _without_edges(magnitude: FloatArray, mask: NDArray[np.bool_], size: FloatArray) -> FloatArray:
    slope = _slope(magnitude, size)
    return np.asarray(slope < np.quantile(slope[mask], 1 - EDGE_SHARE), np.float32)


def _diffused(image: FloatArray, diffusivity: FloatArray, size: FloatArray) -> FloatArray:
    out = np.empty_like(image)
    gradient_adjoint(out, diffusivity * _gradient(image, size), size)
    return out


METHOD = Method(
    chi_separation,
    phrase=("χ-separation, with a fit of the field of the map of chi and edges of the magnitude [@shin2021]"),
    needs=("r2prime", "relaxivity", "magnitude", "voxel_size", "b0_direction", "threads"),
    units={"strength": "ppm mm", "total_weight": "", "tolerance": "", "max_iterations": ""},
)
