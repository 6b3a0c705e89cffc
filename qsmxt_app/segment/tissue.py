"""Tissue classes: what each voxel's intensity says about the label that the atlas puts there.

Every nucleus is a class of its own, because no two have the same brightness; cortex, white matter and fluid
are one each. A class's place is the atlas's label, blurred by as much as a registration errs; its brightness
and spread are estimated from the image itself by expectation maximisation, and neighbours favour the same
class. The brightness of nuclei and of white matter is that around each voxel: thin capsules between grey
matter are darker than white matter elsewhere, and would be taken for the nucleus beside them. The result
keeps a label where the intensity agrees with it, and moves its border to where it does not.

References
----------
Ashburner J, Friston KJ. NeuroImage 26:839-851 (2005): priors of place in a mixture of Gaussians.
Zhang Y, et al. IEEE Trans Med Imaging 20:45-57 (2001): neighbours as a random field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.morphology import nearest_in
from qsmxt_app.qsm.smoothing import smooth
from qsmxt_app.qsm.threads import in_parts
from qsmxt_app.registration import Image
from qsmxt_app.registration.image import bounding_box
from qsmxt_app.segment.mixture import moments, posteriors
from qsmxt_app.segment.regions import Region

_MEMBERS = {
    "globus-pallidus-external": "pallidum", "globus-pallidus-internal": "pallidum",
    "substantia-nigra": "brainstem", "red-nucleus": "brainstem", "subthalamic-nucleus": "brainstem",
    "ventral-diencephalon": "brainstem",
    "dentate-nucleus": "cerebellar-white-matter", "cerebellar-white-matter": "cerebellar-white-matter",
    "cerebellar-cortex": "cerebellar-cortex",
}  # fmt: skip
_WIDE = ("cortex", "white", "fluid", "cerebellar-cortex", "cerebellar-white-matter")
_PLACE_MM = {"wide": 2.0, "nucleus": 1.0}
"""How far a registration errs: folds of the cortex by more than nuclei."""
_ROUNDS = 8
_NEIGHBOUR_ROUNDS = 3
_NEIGHBOUR_VOXELS, _NEIGHBOUR_REACH = 0.7, 2.0
_CONFIDENT = 0.5
_LOCAL_MM, _GLOBAL = 4.0, 0.05
"""Width over which a class's brightness is averaged, and weight of its overall brightness in that."""
_VOXELS_AT_ONCE = 65_536
_LEAST, _ROUNDING = 1e-5, 1e-4
_LEAST_SPREAD = 0.02
"""Of a class's brightness, as a share of the white matter's."""


@dataclass(frozen=True)
class TissueClasses:
    """Which labels share a brightness.

    Attributes
    ----------
    names
        Of the classes; the first is fluid, which is also what lies in the brain mask and has no label.
    of_label
        Class of every label number; -1 for numbers that are none.
    """

    names: tuple[str, ...]
    of_label: NDArray[np.int32]

    @classmethod
    def of(cls, regions: Iterable[Region], members: Mapping[str, str] = _MEMBERS) -> TissueClasses:
        """Sort regions into classes by name (`members`), else nuclei each by its own and others by kind."""
        regions = list(regions)
        names = ["fluid"]
        of_label = np.full(max(region.index for region in regions) + 1, -1, dtype=np.int32)
        of_label[0] = 0
        for region in regions:
            name = members.get(region.name, region.name if region.kind == "nucleus" else region.kind)
            if name not in names:
                names.append(name)
            of_label[region.index] = names.index(name)
        return cls(tuple(names), of_label)

    def of_voxels(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Class of every voxel; -1 where the label is none of the table."""
        last = len(self.of_label) - 1
        return np.where(labels <= last, self.of_label[labels.clip(0, last)], -1)


@dataclass(frozen=True)
class Labelling:
    """Labels of a T1w image.

    Attributes
    ----------
    labels : Image
        Numbers of the regions, 0 outside.
    tissue : Image
        Number of each voxel's class in ``classes``, counted from 1; 0 outside the brain.
    classes
        Names of the tissue classes.
    """

    labels: Image
    tissue: Image
    classes: tuple[str, ...]


def labels_in_their_tissue(labels: Image, classes: TissueClasses, t1w: Image, brain: BoolArray) -> Labelling:
    """Keep labels in the tissue that they belong to.

    Parameters
    ----------
    labels : Image
        Where the atlas puts them, on the T1w image's grid.
    classes : TissueClasses
    t1w : Image
        Free of bias.
    brain : ndarray of bool
        On the same grid.

    Returns
    -------
    Labelling
    """
    box = bounding_box(brain, [4.0, 4.0, 4.0])
    inside = brain[box]
    found = _class_of_voxels(labels.array[box], classes, t1w.array[box], inside, t1w.voxel_size)
    corrected = labels_of_classes(labels.array[box], classes, found)
    whole_labels, whole_tissue = np.zeros(brain.shape, np.int32), np.zeros(brain.shape, np.uint8)
    whole_labels[box] = np.where(inside, corrected, 0)
    whole_tissue[box] = np.where(inside, found + 1, 0)
    return Labelling(labels.with_array(whole_labels), labels.with_array(whole_tissue), classes.names)


def _class_of_voxels(
    labels: NDArray[np.int32],
    classes: TissueClasses,
    t1w: NDArray,
    brain: BoolArray,
    voxel_size: tuple[float, ...],
) -> NDArray[np.int32]:
    prior_class = classes.of_voxels(labels)
    prior = np.stack(
        [_place((prior_class == n) & brain, name, voxel_size)[brain] for n, name in enumerate(classes.names)]
    )
    prior = np.maximum(prior / np.maximum(prior.sum(0), _LEAST), _LEAST)
    values = t1w[brain].astype(np.float32)
    bright = (
        float(np.median(values[prior[_index(classes, "white")] > 0.8]))
        if "white" in classes.names
        else values.max()
    )
    values /= np.float32(bright or 1.0)
    varying = [n for n, name in enumerate(classes.names) if name == "white" or name not in _WIDE]
    logarithm = np.log(prior)
    # no prior of a wide class is zero: intensity must be able to overrule the place
    floor = np.log(_LEAST) + _ROUNDING
    least = np.array([-np.inf if name in _WIDE else floor for name in classes.names], np.float32)
    numbers = np.full(brain.shape, -1, dtype=np.int32)
    numbers[brain] = np.arange(values.size)
    parts = [_Part.of(numbers, brain, share > _LEAST) for share in prior]
    local = _LocalBrightness(parts, varying, voxel_size)
    posterior = np.where(prior > _CONFIDENT, prior, 0)  # the first estimate looks at sure places alone
    expected, around = prior, np.empty((len(prior), 0), np.float32)
    for number in range(_ROUNDS):
        centre, spread = _gaussians(values, posterior)
        expected[:] = centre[:, None]
        local.adapt(expected, values, posterior)
        # neighbours only once the brightness has settled, else they would confirm the first guess
        if number >= _ROUNDS - _NEIGHBOUR_ROUNDS:
            around = _neighbours(posterior, parts)
        _decide(values, logarithm, expected, spread, around, least, posterior)
    result = np.full(labels.shape, -1, dtype=np.int32)
    result[brain] = posterior.argmax(0)
    return result


def _decide(
    values: FloatArray,
    logarithm: FloatArray,
    expected: FloatArray,
    spread: FloatArray,
    around: FloatArray,
    least: FloatArray,
    posterior: FloatArray,
) -> None:
    """Fill in the probabilities of the classes (classes, voxels)."""

    def decide(part: slice) -> None:
        share = around[:, part]
        here = values[part], logarithm[:, part], expected[:, part]
        posteriors(*here, spread, share, least, posterior[:, part])

    in_parts(decide, values.size, _VOXELS_AT_ONCE)


@dataclass(frozen=True)
class _Part:
    """The box of the brain in which a class may be.

    Attributes
    ----------
    inside : ndarray of bool (x, y, z)
        Voxels of the brain in the box.
    voxels : ndarray (n,)
        Their numbers among those of the brain, in C order.
    """

    inside: BoolArray
    voxels: NDArray[np.int32]

    @classmethod
    def of(cls, number: NDArray[np.int32], brain: BoolArray, where: BoolArray) -> _Part:
        """Find the box around some of the brain's voxels, which are numbered; all of it around none."""
        possible = np.zeros(brain.shape, dtype=bool)
        possible[brain] = where if where.any() else True
        box = bounding_box(possible, [_NEIGHBOUR_REACH] * 3)
        here = number[box]
        return cls(here >= 0, here[here >= 0])

    def volume(self, values: FloatArray) -> FloatArray:
        """Values of the brain's voxels in the box, 0 outside the brain."""
        volume = np.zeros(self.inside.shape, dtype=np.float32)
        volume[self.inside] = values[self.voxels]
        return volume


class _LocalBrightness:
    """Local mean intensity of classes: the thalamus is brighter laterally, and some bias field remains."""

    def __init__(self, parts: list[_Part], varying: list[int], voxel_size: tuple[float, ...]) -> None:
        self.sigma = [_LOCAL_MM / size for size in voxel_size]
        self.places = [(n, parts[n]) for n in varying]

    def adapt(self, expected: FloatArray, values: FloatArray, posterior: FloatArray) -> None:
        """Replace the mean of a class by the mean around each voxel, where there is enough of it."""
        for n, part in self.places:
            share = part.volume(posterior[n])
            bright = share * part.volume(values)
            share, bright = (smooth(a, self.sigma, truncate=2.5) for a in (share, bright))
            mean = (bright + _GLOBAL * expected[n, 0]) / (share + _GLOBAL)
            expected[n, part.voxels] = mean[part.inside]


def _index(classes: TissueClasses, name: str) -> int:
    return classes.names.index(name)


def _place(where: BoolArray, name: str, voxel_size: tuple[float, ...]) -> FloatArray:
    width = _PLACE_MM["wide" if name in _WIDE else "nucleus"]
    sigma = [width / size for size in voxel_size]
    return _smoothed(where.astype(np.float32), where, sigma, truncate=3.0)


def _smoothed(array: FloatArray, where: BoolArray, sigma: list[float], truncate: float) -> FloatArray:
    """Smooth what is 0 outside a mask, in the box that it spreads to."""
    out = np.zeros(array.shape, np.float32)
    if where.any():
        box = bounding_box(where, [truncate * width + 1 for width in sigma])
        out[box] = smooth(array[box], sigma, truncate=truncate)
    return out


def _gaussians(values: FloatArray, posterior: FloatArray) -> tuple[FloatArray, FloatArray]:
    sums = np.zeros((-(-values.size // _VOXELS_AT_ONCE), len(posterior), 3))

    def add(part: slice) -> None:
        moments(values[part], posterior[:, part], sums[part.start // _VOXELS_AT_ONCE])

    in_parts(add, values.size, _VOXELS_AT_ONCE)
    weight, first, second = sums.sum(0).T
    total = np.maximum(weight, _LEAST)
    centre = first / total
    spread = np.sqrt(np.maximum(second / total - centre**2, 0))
    return centre.astype(np.float32), np.maximum(spread, _LEAST_SPREAD).astype(np.float32)


def _neighbours(posterior: FloatArray, parts: list[_Part]) -> FloatArray:
    out = np.zeros_like(posterior)
    for n, part in enumerate(parts):
        share = smooth(part.volume(posterior[n]), [_NEIGHBOUR_VOXELS] * 3, truncate=2.5)
        out[n, part.voxels] = share[part.inside]
    return out


def labels_of_classes(
    labels: NDArray[np.int32], classes: TissueClasses, found: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Give each voxel the nearest of the atlas's labels that are of its class, 0 where it is of none."""
    result = np.zeros(labels.shape, dtype=np.int32)
    for n in range(len(classes.names)):
        members = np.flatnonzero(classes.of_label == n)
        where, seeds = found == n, np.isin(labels, members[members > 0])
        if not where.any() or not seeds.any():
            continue
        result[where & seeds] = labels[where & seeds]
        moved = where & ~seeds
        result[moved] = nearest_in(labels, seeds, moved)
    if (classes.of_label == 0).sum() > 1:
        result[(found == 0) & (labels == 0)] = 0
    return result
