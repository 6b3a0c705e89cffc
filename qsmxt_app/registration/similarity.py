"""Similarity of two images under a transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.registration.image import Image
from qsmxt_app.registration.resample import apply
from qsmxt_app.registration.transforms import Transform

_BINS = 32


def mutual_information(fixed: Image, moving: Image, transform: Transform, mask: NDArray[np.bool_]) -> float:
    """Return the normalised mutual information of an image and a transformed one; more is better.

    Parameters
    ----------
    fixed : Image
    moving : Image
    transform : Transform
        From moving to fixed.
    mask : ndarray of bool
        On the fixed image's grid: the voxels that count.

    Returns
    -------
    float
        (H(fixed) + H(moving)) / H(fixed, moving), from 1 (independent) to 2.

    References
    ----------
    Studholme C, et al. Pattern Recognit 32:71-86 (1999).
    """
    brought = apply(moving, fixed.grid, transform).array[mask]
    pairs = _levels(fixed.array[mask]) * _BINS + _levels(brought)
    joint = np.bincount(pairs, minlength=_BINS**2).reshape(_BINS, _BINS) / pairs.size
    together = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / together if together > 0 else 1.0


def _levels(values: NDArray) -> NDArray[np.int64]:
    low, high = np.percentile(values, [1, 99])
    scaled = (values - low) / max(high - low, np.finfo(np.float32).tiny)
    return np.asarray(np.clip(scaled * _BINS, 0, _BINS - 1), dtype=np.int64)


def _entropy(probability: NDArray) -> float:
    present = probability[probability > 0]
    return float(-(present * np.log(present)).sum())
