"""The brain in the magnitude of a head: what remains when bridges through skull and skull base are cut."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from scipy import ndimage

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.magnitude import smooth_level
from qsmxt_app.qsm.morphology import close_gaps, dilate, fill_holes, keep_components

TISSUE_SIGNAL = 0.5
"""Share of the local level of the signal above which a voxel is not bone or air."""

CORE_SHARE = 1 / 3
"""Share of the largest distance to bone or air from which on a voxel is in the core of the brain. The skull
is bridged where voxels hold bone and tissue, and open at its base; at 60 mm of brain, bridges of less than 40
mm are cut: the neck too."""

REGROWTH_MM = 4.0
"""How much further the core grows back than it was eroded, to reach corners."""

MARGIN_MM = 4.0
"""How far around the brain a map is reconstructed: what is beside its surface helps to tell what is in it."""

CLOSING_MM = 3.0
LARGEST_VOID_ML = 2.0


def find_brain(magnitude: FloatArray, inside: BoolArray, voxel_size: Sequence[float]) -> BoolArray:
    """Find the brain by morphology: erosion to a core, its largest component, and growth back.

    Nothing is assumed about contrast, position or completeness of the head: a slab, whose faces do not erode,
    keeps its brain, and where there is no bone around the brain (stripped magnitudes, suppressed fat), all of
    it is the brain.

    Parameters
    ----------
    magnitude : ndarray (x, y, z)
        Of all echoes combined, any unit.
    inside : ndarray (x, y, z), bool
        Mask of the object, which the brain does not exceed.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z), bool
        The brain with its fluid; empty where the mask is.

    References
    ----------
    Smith SM. Hum Brain Mapp 17:143-155 (2002), on morphology for brain extraction.
    """
    tissue = inside & (magnitude > TISSUE_SIGNAL * smooth_level(magnitude, voxel_size))
    solid = fill_holes(tissue, LARGEST_VOID_ML * 1000 / prod(voxel_size))
    if solid.all() or not solid.any():
        return solid
    depth = ndimage.distance_transform_edt(solid, sampling=voxel_size)
    eroded = CORE_SHARE * float(depth.max())
    core = keep_components(depth > eroded)
    brain = keep_components(solid & dilate(core, eroded + REGROWTH_MM, voxel_size))
    return fill_holes(close_gaps(brain, CLOSING_MM, voxel_size)) & inside


def beside_brain(
    brain: BoolArray, filled: BoolArray, reliable: BoolArray, voxel_size: Sequence[float]
) -> BoolArray:
    """End a mask beside the brain: holes of the mask in the skull, and what lies beyond, are no part of it.

    Parameters
    ----------
    brain, filled, reliable : ndarray (x, y, z), bool
        The brain, the mask of the object without holes, and its voxels with reliable signal.
    voxel_size
        mm.

    Returns
    -------
    ndarray (x, y, z), bool
        The brain and reliable voxels beside it; the mask as it is where there is no brain.
    """
    return (brain | (reliable & dilate(brain, MARGIN_MM, voxel_size))) & filled if brain.any() else filled
