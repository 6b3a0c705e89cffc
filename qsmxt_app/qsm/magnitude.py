"""One magnitude image out of all echoes, with the receive sensitivity divided out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.threads import threaded

COARSE_MM = 4.0
"""Grid on which smooth fields are estimated; they vary over centimetres."""


def combine_magnitude(magnitude: FloatArray) -> FloatArray:
    """Root of the sum of squares over echoes.

    Parameters
    ----------
    magnitude : ndarray (x, y, z) or (x, y, z, echo)
        Magnitude in any unit; what is not finite counts as 0.

    Returns
    -------
    ndarray (x, y, z)
        Combined magnitude in the same unit.
    """
    stack = magnitude[..., None] if magnitude.ndim == 3 else magnitude
    combined = np.empty(stack.shape[:3], np.float32)
    _root_sum_of_squares(stack.shape[0], stack, combined)
    return combined


@threaded()
def _root_sum_of_squares(first: int, last: int, stack: FloatArray, combined: FloatArray) -> None:
    _, ny, nz, echoes = stack.shape
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                total = 0.0
                for echo in range(echoes):
                    value = float(stack[x, y, z, echo])
                    if np.isfinite(value):
                        total += value * value
                combined[x, y, z] = np.sqrt(total)


def _coarsen(image: FloatArray, factors: Sequence[int]) -> FloatArray:
    padded = np.pad(image, [(0, -n % f) for n, f in zip(image.shape, factors, strict=True)], mode="edge")
    for axis, factor in enumerate(factors):
        shape = padded.shape
        blocks = (*shape[:axis], shape[axis] // factor, factor, *shape[axis + 1 :])
        padded = padded.reshape(blocks).mean(axis=axis + 1, dtype=np.float32)
    return padded


def _refine(coarse: FloatArray, factors: Sequence[int], shape: Sequence[int]) -> FloatArray:
    for axis, (factor, n) in enumerate(zip(factors, shape, strict=True)):
        position = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, coarse.shape[axis] - 1)
        low = np.minimum(position.astype(int), max(coarse.shape[axis] - 2, 0))
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        fraction = (position - low).astype(np.float32)
        fraction = fraction.reshape([-1 if k == axis else 1 for k in range(3)])
        coarse = coarse.take(low, axis) * (1 - fraction) + coarse.take(high, axis) * fraction
    return np.asarray(coarse, dtype=np.float32)


def smooth_level(
    magnitude: FloatArray, voxel_size: Sequence[float], smoothing_mm: float = 15.0
) -> FloatArray:
    """Local signal level of tissue: what a magnitude is divided by to lose its coil profile.

    The level is the local mean weighted by the magnitude itself, so that air beside tissue does not lower it,
    then a local mean over what exceeds 40 % of it. It does not fall below five times the level of air (the
    darkest 5 % of the image), or noise far away from the head would be raised to the level of tissue; that
    bound lies between 10 and 30 % of the highest level, as there need not be air in the image.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        Combined magnitude, not negative.
    voxel_size
        Voxel edges in mm.
    smoothing_mm
        Standard deviation of the Gaussian in mm.

    Returns
    -------
    ndarray (x, y, z)
        Level in the unit of the magnitude, positive wherever the magnitude is not 0 everywhere.
    """
    factors = [max(1, round(COARSE_MM / size)) for size in voxel_size]
    coarse = _coarsen(magnitude, factors)
    sigma = [smoothing_mm / (size * f) for size, f in zip(voxel_size, factors, strict=True)]
    air = float(np.percentile(ndimage.gaussian_filter(coarse, 1.0), 5))
    tiny = float(np.finfo(np.float32).tiny)

    def local_mean(weights: FloatArray) -> FloatArray:
        total = ndimage.gaussian_filter(coarse * weights, sigma, mode="constant")
        level = total / np.maximum(ndimage.gaussian_filter(weights, sigma, mode="constant"), tiny)
        highest = float(np.percentile(level, 98))
        floor = np.clip(5 * air, 0.1 * highest, 0.3 * highest)
        return np.asarray(np.maximum(level, floor), dtype=np.float32)

    level = local_mean(coarse / max(float(coarse.max()), tiny))
    level = local_mean((coarse > 0.4 * level).astype(np.float32))
    return _refine(level, factors, magnitude.shape)
