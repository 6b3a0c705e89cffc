"""The two-pass combination: strong sources and their streaks are kept apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]


def combine_two_pass(
    chi_reliable: FloatArray, chi_filled: FloatArray, reliable_mask: BoolArray, filled_mask: BoolArray
) -> FloatArray:
    """Susceptibility from the first pass where it exists, and from the second pass in the holes.

    The first pass never sees the strong sources that the reliable mask leaves out, so they throw no streaks
    into it; the second pass gives the sources their values. Each pass is known up to a constant only, so the
    second is shifted to the mean of the first over the voxels that both reconstruct, and no step remains at
    the rim of a hole.

    Parameters
    ----------
    chi_reliable : ndarray (x, y, z)
        Susceptibility in ppm, reconstructed inside `reliable_mask`.
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
    holes = filled_mask & ~reliable_mask
    combined = np.zeros(chi_reliable.shape, np.float32)
    combined[reliable_mask] = chi_reliable[reliable_mask]
    combined[holes] = chi_filled[holes] + np.float32(shift)
    return combined
