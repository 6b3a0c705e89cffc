"""How good a susceptibility map is, judged from the map itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.dipole import dipole_kernel
from qsmxt_app.qsm.morphology import erode

MARGIN_MM = 5.0
"""Distance from the border of the mask within which no tissue is taken to be homogeneous."""

HOMOGENEOUS_SHARE = 0.2
"""Share of the voxels, those with the least relative variation of the magnitude, that count as one tissue."""

NEAR_CONE = 0.05
"""Largest absolute value of the dipole kernel (-2/3 to 1/3) near which no field tells of chi."""

FAR_FROM_CONE = 0.15
_SHELLS = np.linspace(0.2, 1.0, 9)
_FULL_NEIGHBOURHOOD = 27
_FEWEST_NEIGHBOURS = 14
_FEWEST_SAMPLES = 20


def local_noise(chi: FloatArray, tissue: BoolArray) -> float | None:
    """Noise of a map in one tissue: the median of the SD among direct neighbours.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm.
    tissue : ndarray (x, y, z)
        One tissue. A voxel counts if at least half of the 3x3x3 voxels around it belong to the tissue.

    Returns
    -------
    float or None
        ppm; None if no voxel counts.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    if chi.shape != tissue.shape or chi.ndim != 3:
        raise ValueError(f"chi {chi.shape} and tissue {tissue.shape} must be volumes of one shape")
    if not tissue.any():
        return None
    box = ndimage.find_objects(tissue.astype(np.uint8))[0]
    inside = tissue[box]
    values = np.where(inside, chi[box] - np.median(chi[tissue]), 0).astype(np.float64)
    count, total, squares = (
        _FULL_NEIGHBOURHOOD * ndimage.uniform_filter(image, 3, mode="constant")
        for image in (inside.astype(np.float64), values, values**2)
    )
    counts = np.rint(count)
    chosen = inside & (counts >= _FEWEST_NEIGHBOURS)
    if not chosen.any():
        return None
    number, sums = counts[chosen], total[chosen]
    variance = (squares[chosen] - sums**2 / number) / (number - 1)
    return float(np.median(np.sqrt(np.maximum(variance, 0))))


def homogeneous_tissue(magnitude: FloatArray, mask: BoolArray, *, voxel_size: Sequence[float]) -> BoolArray:
    """Find the most homogeneous tissue where no segmentation tells it: by the magnitude, not by chi.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        All echoes combined.
    mask : ndarray (x, y, z)
        Where there is tissue; its outermost 5 mm are left out.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z), bool
        A fifth of the voxels.
    """
    found = np.zeros(mask.shape, bool)
    if not mask.any():
        return found
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inner = erode(mask, MARGIN_MM, voxel_size)[box]
    if not inner.any():
        inner = mask[box]
    image = magnitude[box].astype(np.float64)
    mean = ndimage.uniform_filter(image, 3)
    variance = ndimage.uniform_filter(np.square(image, out=image), 3) - mean**2
    relative = np.sqrt(np.maximum(variance, 0)) / np.maximum(mean, np.finfo(np.float32).tiny)
    found[box] = inner & (relative <= np.quantile(relative[inner], HOMOGENEOUS_SHARE))
    return found


def streaking(
    chi: FloatArray, mask: BoolArray, *, voxel_size: Sequence[float], b0_direction: Sequence[float]
) -> float | None:
    """Power of a map near the cone of directions that the field does not show, over that elsewhere.

    In k-space the dipole kernel vanishes on a cone at the magic angle to B0. What an inversion puts there
    out of noise and inconsistency shows as streaks along that angle. Tissue prefers no direction: its
    power there is that of other directions at the same spatial frequency.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm.
    mask : ndarray (x, y, z)
        Where chi is reported.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.

    Returns
    -------
    float or None
        Geometric mean over shells of spatial frequency, from a fifth of that of the largest voxel edge on.
        1 where the cone is like its surroundings, above with streaks, below where the cone was left empty.
        None for maps too small to tell.

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Shmueli K, de Zwart JA, van Gelderen P, et al. Magn Reson Med 62:1510-1522 (2009): the cone and its
    streaks.
    """
    if chi.shape != mask.shape or chi.ndim != 3:
        raise ValueError(f"chi {chi.shape} and mask {mask.shape} must be volumes of one shape")
    if not mask.any():
        return None
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = mask[box]
    image = np.where(inside, chi[box] - chi[mask].mean(), 0).astype(np.float32)
    shape = [scipy.fft.next_fast_len(size, real=True) for size in image.shape]
    power = np.abs(scipy.fft.rfftn(image, s=shape)) ** 2
    kernel = np.abs(dipole_kernel(shape, voxel_size, b0_direction))
    shell = np.digitize(_relative_frequency(shape, voxel_size), _SHELLS)
    ratios = []
    for number in range(1, _SHELLS.size):
        here = shell == number
        near, far = here & (kernel < NEAR_CONE), here & (kernel > FAR_FROM_CONE)
        if min(np.count_nonzero(near), np.count_nonzero(far)) >= _FEWEST_SAMPLES:
            ratios.append((float(np.mean(power[near])), float(np.mean(power[far]))))
    if not ratios or np.min(ratios) <= 0:
        return None
    return float(np.exp(np.mean([np.log(near) - np.log(far) for near, far in ratios])))


def _relative_frequency(shape: Sequence[int], voxel_size: Sequence[float]) -> FloatArray:
    """Spatial frequency over the highest that all axes have, on the half that a real FFT gives."""
    axes = [scipy.fft.fftfreq(n, d) for n, d in zip(shape[:2], voxel_size[:2], strict=True)]
    axes.append(scipy.fft.rfftfreq(shape[2], voxel_size[2]))
    squares = sum(
        np.square(axis).reshape([-1 if k == a else 1 for k in range(3)]) for a, axis in enumerate(axes)
    )
    return np.asarray(np.sqrt(squares) * 2 * max(voxel_size), dtype=np.float32)
