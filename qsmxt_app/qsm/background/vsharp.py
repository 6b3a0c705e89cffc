"""Background removal by spherical mean values of varying radius (V-SHARP)."""

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


def vsharp(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
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
    grid, field = sphere_box(total_field, mask, voxel_size, weights, max_radius, threads)
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
    require_voxels(known, smallest)
    largest = kernels[0]
    passed = np.abs(largest) > threshold
    inverse = np.where(passed, 1 / np.where(passed, largest, 1), 0).astype(np.float32)
    local = grid.convolve(filtered, inverse)
    return sphere_result(grid, local, known)


METHOD = Method(
    vsharp,
    phrase="V-SHARP [@li2011;@wu2012]",
    needs=("voxel_size", "weights", "threads"),
    units={"max_radius": "mm", "threshold": ""},
    papers=(
        Reference(
            key="li2011",
            short="Li et al., 2011",
            authors=(
                "Li, Wei",
                "Wu, Bing",
                "Liu, Chunlei",
            ),
            title="Quantitative susceptibility mapping of human brain reflects spatial variation in "
            "tissue composition",
            journal="NeuroImage",
            year=2011,
            volume="55",
            pages="1645-1656",
            doi="10.1016/j.neuroimage.2010.11.088",
        ),
        Reference(
            key="wu2012",
            short="Wu et al., 2012",
            authors=(
                "Wu, Bing",
                "Li, Wei",
                "Guidon, Arnaud",
                "Liu, Chunlei",
            ),
            title="Whole brain susceptibility mapping using compressed sensing",
            journal="Magnetic Resonance in Medicine",
            year=2012,
            volume="67",
            pages="137-147",
            doi="10.1002/mrm.23000",
        ),
    ),
)
