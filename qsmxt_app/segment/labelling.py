"""Labels of an atlas on a T1w image and on a scan: the atlas method from end to end.

References
----------
Avants BB, et al. Med Image Anal 12:26-41 (2008): the correlation that is followed. Ashburner J, Friston KJ.
NeuroImage 26:839-851 (2005): tissue classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter, mean

from qsmxt_app.arrays import BoolArray
from qsmxt_app.qsm.morphology import dilate
from qsmxt_app.registration import Grid, Image, Transform, apply, crop, resample_labels
from qsmxt_app.registration.deformable import GREEDY, register_deformable
from qsmxt_app.registration.greedy import Deformation, Pair, deform, refine
from qsmxt_app.registration.label_resampling import reached_box
from qsmxt_app.registration.resample import coarser
from qsmxt_app.segment.alignment import Alignment
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.chi_borders import refine_borders_with_chi
from qsmxt_app.segment.nuclei_search import GROUP_REACH_MM, OWN_REACH_MM, Placement, find_nuclei, scaled
from qsmxt_app.segment.prepare import PreparedT1w
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.scan_labels import BorderRefinement
from qsmxt_app.segment.tissue import Labelling, TissueClasses, labels_in_their_tissue

WORKING_MM = 1.0
SEEN_ON_CHI = (
    "substantia-nigra", "red-nucleus", "subthalamic-nucleus", "dentate-nucleus",
    "globus-pallidus-external", "globus-pallidus-internal",
)  # fmt: skip
"""Names of the nuclei that are placed by the map of chi."""
_REACH_MM = 6.0
_SEARCH_MM = GROUP_REACH_MM + OWN_REACH_MM + 4.0
_AROUND_PPM, _BLUR_VOXELS = -0.02, 0.7
"""Chi around nuclei, and the blur of a map, in the model of nuclei that are further away."""
_TO_T1W = Deformation(iterations=(100, 60), shrink=(2, 1))
_AT_NUCLEI = Deformation(iterations=(30,), shrink=(1,))
_AT_NUCLEI_MM, _FADES_MM = 8.0, 10.0
"""Surroundings of nuclei in which they are deformed at full resolution, and width of the rim beyond in which
this ends."""
_PRESENT = 0.3
"""Share of a voxel above which there is something of a label."""
_WHOLE = Deformation(iterations=(100, 60, 20), shrink=(4, 2, 1))
_TO_CHI = Deformation(iterations=(40, 30), shrink=(2, 1), radius=3)
_UPDATE_MM, _FIELD_MM = 2.0, 1.0
_LEAST_UPDATE, _LEAST_FIELD = 1.5, 0.7
"""Smoothing on chi in mm, and the least of it in voxels: more would hold nuclei of a few voxels where they
are, less would follow the noise of a map."""


def atlas_to_t1w(atlas: Atlas, prepared: PreparedT1w, method: str = GREEDY) -> Transform:
    """Register an atlas to a T1w image, from the affine transform that found the brain.

    The whole brain is registered at twice the working resolution, and then nuclei and what is around them at
    the full one: borders of cortex and white matter follow from the image itself afterwards. An atlas without
    nuclei, and SyN, are registered at the full resolution everywhere.

    Parameters
    ----------
    atlas : Atlas
    prepared : PreparedT1w
    method
        Of the deformable registration: `greedy` or `syn`.

    Returns
    -------
    Transform
        From the atlas to the T1w image.
    """
    fixed = crop(prepared.stripped, prepared.brain, 6.0)
    model = crop(atlas.t1w, atlas.brain, 4.0)
    grid = working_grid(fixed)
    nuclei = [region.index for region in atlas.regions if region.kind == "nucleus"]
    if method != GREEDY or not nuclei:
        return register_deformable([Pair(fixed, model)], grid, prepared.from_atlas, _WHOLE, method)
    coarse = 2 * grid.voxel_size[0]
    small = coarser(fixed, coarse)
    whole = deform([Pair(small, coarser(model, coarse))], small.grid, prepared.from_atlas, _TO_T1W)
    found = np.isin(atlas.labels.array, nuclei).astype(np.float32)
    there = apply(atlas.labels.with_array(found), small.grid, whole).array > _PRESENT
    near = small.with_array(dilate(there, _AT_NUCLEI_MM, small.voxel_size).astype(np.float32))
    cut = crop(fixed, apply(near, fixed.grid).array > 0.5, _FADES_MM)
    fine = working_grid(cut)
    where = apply(near, fine).array > 0.5
    return refine([Pair(cut, model, where=where)], fine, whole, _AT_NUCLEI)


def working_grid(image: Image, voxel_mm: float = WORKING_MM) -> Grid:
    """Cubic voxels along an image's axes over the same box, 1 mm or as fine as the image is."""
    size = np.asarray(image.voxel_size)
    edge = max(voxel_mm, float(np.cbrt(np.prod(size))))
    return image.grid.with_voxels(edge / size, fewest=2)


def label_t1w(atlas: Atlas, transform: Transform, prepared: PreparedT1w) -> Labelling:
    """Label a T1w image, each label in the tissue that it belongs to.

    Parameters
    ----------
    atlas : Atlas
    transform : Transform
        From the atlas to the T1w image.
    prepared : PreparedT1w

    Returns
    -------
    Labelling
        On the T1w image's grid. Regions of an atlas that does not tell their kind stay where the transform
        puts them.
    """
    placed = resample_labels(atlas.labels, prepared.t1w.grid, transform).labels
    if not any(region.kind for region in atlas.regions):
        inside = np.where(prepared.brain, placed.array, 0)
        return Labelling(
            placed.with_array(inside), placed.with_array(prepared.brain.astype(np.uint8)), ("brain",)
        )
    return labels_in_their_tissue(placed, TissueClasses.of(atlas.regions), prepared.t1w, prepared.brain)


@dataclass(frozen=True)
class NucleiOnScan:
    """Nuclei that are placed by a map of chi.

    Attributes
    ----------
    labels : Image
        Those that chi shows, in a space of their own.
    transform : Transform
        From there to the scan.
    placements
        What chi shows of each nucleus of ``SEEN_ON_CHI``, by number.
    regions
        All of the atlas.
    """

    labels: Image
    transform: Transform
    placements: Mapping[int, Placement]
    regions: tuple[Region, ...]


def place_nuclei(
    atlas: Atlas, to_t1w: Transform, alignment: Alignment, chi: Image, mask: BoolArray
) -> NucleiOnScan | None:
    """Place nuclei where the map of chi shows them.

    Parameters
    ----------
    atlas : Atlas
    to_t1w : Transform
        From the atlas to the T1w image.
    alignment : Alignment
        Of the scan to the T1w image.
    chi : Image
        ppm.
    mask : ndarray of bool
        On chi's grid, where chi is known.

    Returns
    -------
    NucleiOnScan or None
        None without a map of chi of the atlas, or without nuclei in the scan.
    """
    to_scan = to_t1w.then(alignment.transform.inverse())
    nuclei = chi_nuclei(atlas)
    if atlas.chi is None or not nuclei.array.any():
        return None
    placed = _place(nuclei, chi.grid, to_scan)
    if not (placed & mask).any():
        return None
    found, expected = _search(nuclei, to_scan, atlas.regions, chi, mask, placed)
    shown = [number for number, one in found.items() if not one.doubt]
    if not shown:
        return NucleiOnScan(nuclei.with_array(np.zeros_like(nuclei.array)), to_scan, found, atlas.regions)
    if not any(one.is_displaced for one in found.values()):
        labels = nuclei.with_array(np.where(np.isin(nuclei.array, shown), nuclei.array, 0))
        return NucleiOnScan(labels, _deform_near(atlas.chi, to_scan, chi, mask, placed), found, atlas.regions)
    moved = _shifted(expected, {number: found[number] for number in shown})
    contrast = mean(apply(atlas.chi, nuclei.grid).array, nuclei.array, shown)
    model = np.zeros(int(moved.array.max()) + 1, np.float32)
    model[shown] = np.asarray(contrast) - _AROUND_PPM
    bright = moved.with_array(gaussian_filter(model[moved.array], _BLUR_VOXELS))
    here = _place(moved, chi.grid, Transform())
    return NucleiOnScan(moved, _deform_near(bright, Transform(), chi, mask, here), found, atlas.regions)


def _place(labels: Image, grid: Grid, transform: Transform) -> BoolArray:
    """Voxels of a grid that labels fill, or nearly so."""
    box = reached_box(labels, grid, transform)
    found = np.zeros(grid.shape, dtype=bool)
    present = labels.with_array((labels.array > 0).astype(np.float32))
    found[box] = apply(present, grid.part(box), transform).array > _PRESENT
    return found


def _search(
    nuclei: Image, to_scan: Transform, regions: Sequence[Region], chi: Image, mask: BoolArray, near: BoolArray
) -> tuple[dict[int, Placement], Image]:
    """Search all nuclei on cubic voxels around them, and return their labels where the T1w has them."""
    cut = crop(chi.with_array(np.where(mask, chi.array, 0).astype(np.float32)), near, _SEARCH_MM)
    grid = working_grid(cut)
    expected = resample_labels(nuclei, grid, to_scan).labels
    known = apply(crop(chi.with_array(mask.astype(np.float32)), near, _SEARCH_MM), grid).array > 0.5
    names = {region.index: region.name for region in regions if region.name in SEEN_ON_CHI}
    bodies = {number: expected.array == number for number in names}
    found = find_nuclei(bodies, names, apply(cut, grid).array, known, grid.voxel_size[0])
    return found, expected


def _shifted(labels: Image, placements: Mapping[int, Placement]) -> Image:
    """Labels of some nuclei alone, each of the size that chi shows and shifted by whole voxels."""
    moved = np.zeros_like(labels.array)
    for number, placement in placements.items():
        shift = np.rint(np.array(placement.shift) / labels.voxel_size).astype(int)
        points = np.argwhere(scaled(labels.array == number, placement.scale)) + shift
        points = points[((points >= 0) & (points < moved.shape)).all(axis=1)]
        moved[tuple(points.T)] = number
    return labels.with_array(moved)


def _deform_near(
    model: Image, initial: Transform, chi: Image, mask: BoolArray, placed: BoolArray
) -> Transform:
    """Deform a model of chi to a map in the surroundings of its nuclei."""
    near = dilate(placed, _REACH_MM, chi.voxel_size)
    cut_chi = crop(chi.with_array(np.where(mask, chi.array, 0).astype(np.float32)), near, 8.0)
    cut_near = crop(chi.with_array((near & mask).astype(np.float32)), near, 8.0)
    grid = working_grid(cut_chi)
    where = apply(cut_near, grid).array > 0.5
    edge = grid.voxel_size[0]
    smooth = replace(
        _TO_CHI,
        update_smoothing=max(_LEAST_UPDATE, _UPDATE_MM / edge),
        field_smoothing=max(_LEAST_FIELD, _FIELD_MM / edge),
    )
    return deform([Pair(cut_chi, model, where=where)], grid, initial, smooth)


def chi_nuclei(atlas: Atlas) -> Image:
    """The atlas's labels of ``SEEN_ON_CHI`` alone."""
    numbers = [region.index for region in atlas.regions if region.name in SEEN_ON_CHI]
    return atlas.labels.with_array(np.where(np.isin(atlas.labels.array, numbers), atlas.labels.array, 0))


def refine_nuclei_borders(nuclei: NucleiOnScan, chi: Image, mask: BoolArray) -> BorderRefinement:
    """Return the refinement of the borders of the nuclei that a map of chi shows.

    Parameters
    ----------
    nuclei : NucleiOnScan
    chi : Image
        ppm, on the grid of the labels.
    mask : ndarray of bool
        Where chi is known.
    """
    doubtful = {number for number, placement in nuclei.placements.items() if placement.doubt}
    certain = tuple(region for region in nuclei.regions if region.index not in doubtful)
    return partial(refine_borders_with_chi, regions=certain, nuclei=SEEN_ON_CHI, chi=chi, mask=mask)
