"""Background removal by spherical mean values: V-SHARP, RESHARP and the iterative method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.background.border import border_of, within_doubtful_border
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.background.spheres import eroded, sphere_spectrum
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive


def _box(
    total_field: NDArray,
    mask: NDArray,
    voxel_size: Sequence[float],
    weights: NDArray | None,
    radius: float,
    threads: int | None,
) -> tuple[PaddedGrid, FloatArray]:
    """Check the input; return the box of the mask inside its doubtful border, and the field in it."""
    check_field(total_field, mask, voxel_size, weights=weights)
    check_positive(radius=radius)
    region = within_doubtful_border(np.asarray(mask, bool), weights)
    grid = PaddedGrid(region, voxel_size, margin=radius, threads=threads)
    return grid, grid.embed_masked(total_field)


def _require_voxels(mask: BoolArray, radius: float) -> None:
    if not mask.any():
        raise ValueError(f"no voxel of the mask is {radius:.1f} mm from its border: choose a smaller radius")


def _result(
    grid: PaddedGrid, local: FloatArray, known: BoolArray, iterations: int = 0, converged: bool = True
) -> BackgroundRemoval:
    mask = grid.extract(known) > 0
    return BackgroundRemoval(grid.extract(local, known), mask, mask & ~border_of(mask), iterations, converged)


def vsharp(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float] | None = None,
    weights: NDArray | None = None,
    max_radius: float = 12.0,
    min_radius: float | None = None,
    threshold: float = 0.05,
    threads: int | None = None,
) -> BackgroundRemoval:
    """Sophisticated harmonic artifact reduction with a kernel that varies with the distance to the border.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in any unit, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest; the returned mask is one smallest sphere smaller.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Not used: the mean value property does not know it.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit. Only the border knows them: it moves inwards past voxels
        with less than a tenth of the median weight.
    max_radius
        Radius in mm of the sphere used in the interior, and in the deconvolution.
    min_radius
        Radius in mm of the sphere used at the border, the longest voxel edge where not given. Radii between
        the two grow in steps of the same length.
    threshold
        Spatial frequencies at which the largest kernel passes less than this are left out of the
        deconvolution.
    threads
        Threads of the FFT.

    Returns
    -------
    BackgroundRemoval

    Raises
    ------
    ValueError
        If the input cannot be used, or no sphere fits into the mask.

    References
    ----------
    Wu B, Li W, Guidon A, Liu C. Magn Reson Med 67:137-147 (2012). doi:10.1002/mrm.23000
    Schweser F, Deistung A, Lehr BW, Reichenbach JR. NeuroImage 54:2789-2807 (2011).
    doi:10.1016/j.neuroimage.2010.10.070
    """
    smallest = max(voxel_size) if min_radius is None else min_radius
    if not 0 < smallest <= max_radius:
        raise ValueError(f"the radii must be positive and rise, not from {smallest} to {max_radius} mm")
    grid, field = _box(total_field, mask, voxel_size, weights, max_radius, threads)
    spectrum_of_field = grid.forward(field)
    filtered = np.zeros(grid.shape, dtype=np.float32)
    known = np.zeros(grid.shape, dtype=bool)
    kernels = []
    for radius in np.arange(max_radius, smallest * (1 - 1e-6), -smallest):
        kernel = 1 - sphere_spectrum(grid, float(radius))
        reach = eroded(grid, 1 - kernel)
        new = reach & ~known
        if not new.any():
            continue
        kernels.append(kernel)
        filtered[new] = grid.backward(spectrum_of_field * kernel)[new]
        known |= reach
    _require_voxels(known, smallest)
    largest = kernels[0]
    passed = np.abs(largest) > threshold
    inverse = np.where(passed, 1 / np.where(passed, largest, 1), 0).astype(np.float32)
    local = grid.convolve(filtered, inverse)
    return _result(grid, local, known)


def resharp(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float] | None = None,
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
    b0_direction
        Not used.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit, for the border only as in :func:`vsharp`.
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
    grid, field = _box(total_field, mask, voxel_size, weights, radius, threads)
    kernel = 1 - sphere_spectrum(grid, radius)
    inner = eroded(grid, 1 - kernel)
    _require_voxels(inner, radius)

    def normal(x: FloatArray) -> FloatArray:
        return grid.convolve(grid.convolve(x, kernel) * inner, kernel) + np.float32(regularisation) * x

    filtered = grid.convolve(field, kernel) * inner
    local, iterations, converged = conjugate_gradients(
        normal, grid.convolve(filtered, kernel), tolerance=tolerance, max_iterations=max_iterations
    )
    return _result(grid, local, inner, iterations, converged)


def ismv(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float] | None = None,
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
    b0_direction
        Not used.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit, for the border only as in :func:`vsharp`.
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
    grid, field = _box(total_field, mask, voxel_size, weights, radius, threads)
    kernel = sphere_spectrum(grid, radius)
    inner = eroded(grid, kernel)
    _require_voxels(inner, radius)
    target = tolerance * float(np.linalg.norm(field))
    background, iterations, converged = field.copy(), 0, False
    while not converged and iterations < max_iterations:
        averaged = grid.convolve(background, kernel)[inner]
        change = float(np.linalg.norm(averaged - background[inner]))
        background[inner] = averaged
        iterations += 1
        converged = change <= target
    local = field - background
    return _result(grid, local, inner, iterations, converged)
