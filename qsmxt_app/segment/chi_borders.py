"""Borders of nuclei where a map of chi shows them: the last step of placing labels by chi.

A registration brings a nucleus of the atlas to its place, but it keeps about the size and the shape that the
atlas gives it. Between a nucleus and what lies around it chi changes by several times the noise of a map, so
that chi tells most voxels of its border apart: each goes to the tissue whose chi around there is nearer, and
the more readily the further inside that tissue it lies. All tissues are taken to vary equally much, so that
a voxel that two tissues share goes to the one that fills more than half of it.

References
----------
Ashburner J, Friston KJ. NeuroImage 26:839-851 (2005): priors of place in a mixture of Gaussians.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray, LabelArray
from qsmxt_app.qsm.morphology import dilate
from qsmxt_app.qsm.smoothing import smooth
from qsmxt_app.registration import Image
from qsmxt_app.registration.image import bounding_box
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.tissue import TissueClasses, labels_of_classes

_PLACE_MM = 0.7
"""How far a border lies from its place after the registration by chi."""
_REACH_MM = 2.0
_LOCAL_MM = 6.0
"""Width over which chi of a tissue is averaged."""
_AROUND_MM = 10.0
_ROUNDS = 4
_CONFIDENT = 0.8
_FEWEST = 10
"""Sure voxels without which chi of a tissue is not known."""
_LEAST = 1e-3
_LEAST_SPREAD = 1e-3
"""ppm: of a map without noise."""


def refine_borders_with_chi(
    labels: LabelArray,
    share: FloatArray,
    regions: Sequence[Region],
    nuclei: Collection[str],
    chi: Image,
    mask: BoolArray,
) -> tuple[LabelArray, FloatArray]:
    """Move the borders of nuclei to where chi changes.

    Parameters
    ----------
    labels : ndarray (x, y, z), int32
        On the grid of chi, 0 where there is no label.
    share : ndarray (x, y, z)
        How much of its voxel each label fills.
    regions
        What the labels stand for.
    nuclei
        Names of those whose borders are moved.
    chi : Image
        ppm, relative to anything.
    mask : ndarray of bool (x, y, z)
        Where chi is known. Elsewhere labels stay.

    Returns
    -------
    labels : ndarray (x, y, z), int32
        Only voxels that were, or now are, part of one of the nuclei differ.
    share : ndarray (x, y, z)
        In and around the nuclei, how probable the label is.
    """
    own = np.isin(labels, [region.index for region in regions if region.name in nuclei])
    if not (own & mask).any():
        return labels, share
    box = bounding_box(own, [_AROUND_MM / edge for edge in chi.voxel_size])
    classes = TissueClasses.of(regions, {name: name for name in nuclei})
    here, before = labels[box], classes.of_voxels(labels[box])
    known = mask[box] & (before >= 0)
    near = dilate(own[box], _REACH_MM, chi.voxel_size)
    found, sure = _most_likely(before, chi.array[box], known, near, chi.voxel_size)
    theirs = np.isin(found, [n for n, name in enumerate(classes.names) if name in nuclei])
    decided = (found >= 0) & (own[box] | theirs)
    moved = decided & (found != before)
    labels, share = labels.copy(), share.copy()
    labels[box] = np.where(moved, labels_of_classes(here, classes, np.where(moved, found, -1)), here)
    share[box] = np.where(decided, sure, share[box])
    return labels, share


def _most_likely(
    classes: LabelArray, chi: FloatArray, known: BoolArray, near: BoolArray, voxel_size: Sequence[float]
) -> tuple[LabelArray, FloatArray]:
    """Most likely class of voxels near the nuclei and its probability; -1 where nothing is known."""
    place, local = ([width / edge for edge in voxel_size] for width in (_PLACE_MM, _LOCAL_MM))
    shares = {n: _blurred((classes == n) & known, place) for n in np.unique(classes[near & known])}
    certain = {n: np.where(share > _CONFIDENT, share, 0) for n, share in shares.items()}
    numbers = [n for n, share in certain.items() if np.count_nonzero(share) >= _FEWEST]
    found, sure = np.full(classes.shape, -1, np.int32), np.zeros(classes.shape, np.float32)
    near = near & known & np.isin(classes, numbers)
    if not near.any():
        return found, sure
    prior = np.stack([np.maximum(shares[n][near], _LEAST) for n in numbers])
    posterior = [certain[n] for n in numbers]
    for _ in range(_ROUNDS):
        off = np.stack([chi[near] - _around(chi, share, local)[near] for share in posterior]) ** 2
        weight = np.stack([share[near] for share in posterior])
        spread = (off * weight).sum() / max(weight.sum(), _LEAST)
        evidence = np.log(prior) - 0.5 * off / max(spread, _LEAST_SPREAD**2)
        evidence = np.exp(evidence - evidence.max(0))
        evidence /= evidence.sum(0)
        for share, probability in zip(posterior, evidence, strict=True):
            share[near] = probability
    found[near] = np.array(numbers)[evidence.argmax(0)]
    sure[near] = evidence.max(0)
    return found, sure


def _blurred(where: BoolArray, sigma: Sequence[float]) -> FloatArray:
    return smooth(where.astype(np.float32), sigma)


def _around(chi: FloatArray, share: FloatArray, sigma: Sequence[float]) -> FloatArray:
    """Mean chi of a class around each voxel."""
    total = smooth(share * chi, sigma, truncate=2.5) + _LEAST * (share * chi).sum() / share.sum()
    return np.asarray(total / (smooth(share, sigma, truncate=2.5) + _LEAST), dtype=np.float32)
