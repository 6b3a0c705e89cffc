"""Exact phase unwrapping along the most reliable path (ROMEO)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.unwrapping.checks import check_wrapped

SMALLEST_REGION = 8
"""Voxels below which a disconnected piece keeps its wrapped phase: specks of noise."""


def unwrap_romeo(phase: FloatArray, mask: BoolArray, *, magnitude: FloatArray | None = None) -> FloatArray:
    """Unwrap exactly, along the path of most reliable neighbours.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        Wrapped phase in rad.
    mask : ndarray (x, y, z)
        Where to unwrap.
    magnitude : ndarray (x, y, z), optional
        Signal or any other measure of reliability that guides the path.

    Returns
    -------
    ndarray (x, y, z)
        Phase plus whole turns, 0 outside the mask. Each connected piece of the mask is unwrapped on its
        own; its median lies within half a turn of zero.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty or the phase contains NaN inside it.

    References
    ----------
    Dymerska B, Eckstein K, et al. Magn Reson Med 85:2294-2308 (2021). The implementation is warpkit's.
    """
    from warpkit.warpkit_cpp import romeo_unwrap3d

    check_wrapped(phase, mask)
    weight = np.ones(phase.shape, np.float32) if magnitude is None else magnitude
    out = np.zeros(phase.shape, dtype=np.float32)
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.reshape(-1))
    pieces = ndimage.find_objects(labels)
    for number in np.flatnonzero(sizes[1:] >= SMALLEST_REGION) + 1:
        box = pieces[number - 1]
        piece = np.ascontiguousarray(labels[box] == number)
        wrapped = np.where(piece, phase[box], 0).astype(np.float32)
        mag = np.where(piece, weight[box], 0).astype(np.float32)
        unwrapped = np.asarray(romeo_unwrap3d(wrapped, "romeo", mag, piece, False, 1, False, False))[piece]
        out[box][piece] = unwrapped - np.float32(2 * np.pi) * np.rint(np.median(unwrapped) / (2 * np.pi))
    small = (sizes < SMALLEST_REGION)[labels] & mask
    out[small] = phase[small]
    return out


METHOD = Method(unwrap_romeo, phrase="ROMEO [@dymerska2021]", needs=("magnitude",))
