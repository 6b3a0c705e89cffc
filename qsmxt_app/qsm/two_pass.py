"""The two-pass combination: strong sources and their streaks are kept apart."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.morphology import bounding_box

APART_PPM = 0.6
"""Susceptibility from which a source is left out of the first pass: bleeds, calcifications, bone and air, but
not veins (0.4 ppm at most)."""

_STRONG_PPM = 0.1
_SHARE_OF_SOURCE = 0.5
_TOUCHING = np.ones((3, 3, 3), bool)


def strong_holes(chi: FloatArray, filled_mask: BoolArray, reliable_mask: BoolArray) -> BoolArray:
    """Decide which holes of the mask are left out of the first pass: those that hold a strong source.

    The streaks and the shading that a pass over reliable voxels avoids come from sources whose field the data
    do not show well. A vein whose signal is low is no such source: left out, it is cut into pieces.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        Susceptibility in ppm, reconstructed inside `filled_mask`.
    filled_mask, reliable_mask : ndarray (x, y, z), bool
        All of the mask, and its voxels with reliable phase.

    Returns
    -------
    ndarray (x, y, z), bool
        Connected holes in which chi exceeds `APART_PPM` somewhere, of either sign.
    """
    labels, count = ndimage.label(filled_mask & ~reliable_mask, _TOUCHING)
    strong = np.zeros(count + 1, bool)
    strong[1:] = ndimage.maximum(np.abs(chi), labels, np.arange(1, count + 1)) > APART_PPM
    return np.asarray(strong[labels])


def combine_two_pass(
    chi_reliable: FloatArray, chi_filled: FloatArray, reliable_mask: BoolArray, filled_mask: BoolArray
) -> FloatArray:
    """Susceptibility from the first pass where it exists, and from the second pass in the holes.

    The strong sources that the reliable mask leaves out cause no streaks in the first pass; the second pass
    gives them their values. Each pass is known up to a constant only, so the second is shifted to the mean of
    the first over the voxels that both reconstruct, and no step remains at the rim of a hole.

    Sources end at their own borders and not at those of the hole. The first pass has to explain them without
    a source there and loses the part that lies beside the hole. So a hole grows by the voxels at its rim
    that, by the second pass, have at least half the mean of the hole, if that is a strong source's (0.1 ppm).

    Parameters
    ----------
    chi_reliable : ndarray (x, y, z)
        Susceptibility in ppm, reconstructed inside `reliable_mask`, which lacks :func:`strong_holes`.
    chi_filled : ndarray (x, y, z)
        Susceptibility in ppm, reconstructed inside `filled_mask`.
    reliable_mask, filled_mask : ndarray (x, y, z), bool
        Masks in which each pass was reconstructed.

    Returns
    -------
    ndarray (x, y, z)
        Susceptibility in ppm in the union of both masks, 0 outside.

    Raises
    ------
    ValueError
        If shapes differ, or if the masks share no voxel.

    References
    ----------
    Stewart AW, Robinson SD, O'Brien K, et al. QSMxT: robust masking and artifact reduction for quantitative
    susceptibility mapping. Magn Reson Med 87:1289-1300 (2022).
    """
    shapes = {array.shape for array in (chi_reliable, chi_filled, reliable_mask, filled_mask)}
    if len(shapes) != 1:
        raise ValueError(f"the maps and masks of the two passes must have one shape, not {sorted(shapes)}")
    common = reliable_mask & filled_mask
    if not common.any():
        raise ValueError("the masks of the two passes share no voxel: reconstruct with the filled mask alone")
    shift = chi_reliable[common].mean(dtype=np.float64) - chi_filled[common].mean(dtype=np.float64)
    second = chi_filled + np.float32(shift)
    from_second = _with_whole_sources(filled_mask & ~reliable_mask, second) & filled_mask
    combined = np.zeros(chi_reliable.shape, np.float32)
    combined[reliable_mask] = chi_reliable[reliable_mask]
    combined[from_second] = second[from_second]
    return combined


def _with_whole_sources(holes: BoolArray, chi: FloatArray) -> BoolArray:
    """Grow holes by the voxels at their rims that are mostly of the strong source in the hole."""
    labels, count = ndimage.label(holes, _TOUCHING)
    mean = np.zeros(count + 1, np.float32)
    mean[1:] = ndimage.mean(chi, labels, np.arange(1, count + 1))
    mean[np.abs(mean) < _STRONG_PPM] = 0
    if not mean.any():
        return holes
    strength = mean[labels]
    box = bounding_box(strength != 0)
    strength, chi = strength[box], chi[box]
    positive, negative = ndimage.maximum_filter(strength, size=3), ndimage.minimum_filter(strength, size=3)
    share = np.float32(_SHARE_OF_SOURCE)
    grown = holes.copy()
    grown[box] |= ((positive > 0) & (chi > share * positive)) | ((negative < 0) & (chi < share * negative))
    return grown
