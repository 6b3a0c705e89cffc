"""The default atlas, assembled from images and nuclei of :mod:`qsmxt_app.mni152`.

The frame is the MNI152 2009c average head. Nuclei, ventricles, cortex and white matter are those of
FreeSurfer's average of 35 heads, so that a nucleus is what FreeSurfer means by it. On the side of the insula
its putamen extends beyond the external capsule of this head: that part is the claustrum with the capsules
beside it. The two parts of the pallidum, nigra, red, subthalamic and dentate nucleus are drawn as
simple shapes, and refined by the map of chi. White matter is divided by the lobe of the nearest cortex.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.arrays import LabelArray
from qsmxt_app.mni152.files import BRAIN_2009C, FREESURFER_LABELS, freesurfer_names, read_volume
from qsmxt_app.mni152.nuclei import beside_insula, draw_small_nuclei, internal_pallidum
from qsmxt_app.qsm.morphology import nearest_of
from qsmxt_app.registration import Grid, Image, apply, crop
from qsmxt_app.registration.image import bounding_box
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlases.declaration import BuiltInAtlas
from qsmxt_app.segment.regions import Region, split_hemisphere
from qsmxt_app.segment.tissue import TissueClasses, labels_in_their_tissue

SOURCES = (
    "MNI152 2009c average head (Fonov 2011; free for any use)",
    "FreeSurfer's cvs_avg35_inMNI152, Desikan-Killiany labels (Fischl 2002; Desikan 2006; FreeSurfer "
    "Software License)",
    "substantia nigra and red nucleus: simple shapes drawn to the average head; parts of the pallidum by "
    "their share of its volume (Thorner 1975)",
    "subthalamic and dentate nucleus: placed by coordinates (Keuken 2014; Dimitrova 2002)",
)

_NAMES = {
    "Thalamus-Proper": "thalamus", "Caudate": "caudate", "Putamen": "putamen", "Hippocampus": "hippocampus",
    "Amygdala": "amygdala", "Accumbens-area": "accumbens", "VentralDC": "ventral-diencephalon",
    "Brain-Stem": "brainstem", "Lateral-Ventricle": "lateral-ventricle", "Inf-Lat-Vent": "inferior-horn",
    "3rd-Ventricle": "third-ventricle", "4th-Ventricle": "fourth-ventricle", "CSF": "csf",
    "Cerebellum-White-Matter": "cerebellar-white-matter", "Cerebellum-Cortex": "cerebellar-cortex",
}  # fmt: skip
_CALLOSUM = range(251, 256)
_DROPPED = {"vessel": "lateral-ventricle", "choroid-plexus": "lateral-ventricle"}
_FLUIDS = ("ventricle", "horn", "csf")

# Numbers of our own, left; right is 50 more.
OWN = {
    "globus-pallidus-external": 301, "globus-pallidus-internal": 302, "substantia-nigra": 303,
    "red-nucleus": 304, "subthalamic-nucleus": 305, "dentate-nucleus": 306, "claustrum": 307,
}  # fmt: skip
_LOBES = {
    "frontal-white-matter": (311, "superiorfrontal rostralmiddlefrontal caudalmiddlefrontal parsopercularis "
                             "parsorbitalis parstriangularis lateralorbitofrontal medialorbitofrontal "
                             "precentral paracentral frontalpole caudalanteriorcingulate "
                             "rostralanteriorcingulate"),
    "parietal-white-matter": (312, "superiorparietal inferiorparietal supramarginal postcentral precuneus "
                              "posteriorcingulate isthmuscingulate"),
    "temporal-white-matter": (313, "superiortemporal middletemporal inferiortemporal bankssts fusiform "
                              "transversetemporal entorhinal temporalpole parahippocampal"),
    "occipital-white-matter": (314, "lateraloccipital lingual cuneus pericalcarine"),
    "insular-white-matter": (315, "insula"),
}  # fmt: skip
RIGHT = 50
_CORPUS_CALLOSUM = 320

_PALLIDUM, _PUTAMEN, _INSULA = (13, 52), (12, 51), (1035, 2035)
_MARGIN_MM = 6.0

# Susceptibility in ppm of each nucleus in the atlas's chi map: Bilgic 2012, Lim 2013, Deistung 2013.
CHI = {
    "globus-pallidus-external": 0.13, "globus-pallidus-internal": 0.11, "substantia-nigra": 0.13,
    "red-nucleus": 0.10,
    "subthalamic-nucleus": 0.10, "dentate-nucleus": 0.10, "putamen": 0.055, "caudate": 0.05,
    "thalamus": 0.01, "accumbens": 0.03,
}  # fmt: skip
_CHI_OF_KIND = {"cortex": 0.015, "white": -0.03, "fluid": 0.0, "nucleus": 0.0}


def build() -> Atlas:
    """Assemble the atlas on the 1 mm grid of its T1w image.

    References
    ----------
    Fonov V, et al. NeuroImage 54:313-327 (2011). Fischl B, et al. Neuron 33:341-355 (2002). Desikan RS, et
    al. NeuroImage 31:968-980 (2006).
    """
    t1w = average_brain()
    labels, regions = _renamed(_nearest(_read(FREESURFER_LABELS), t1w.grid), freesurfer_names())
    _separate_claustrum(labels)
    labels = _within_tissue(t1w, labels, regions)
    axes = _axes(t1w.grid)
    _divide_pallidum(labels, axes)
    draw_small_nuclei(labels, axes, {name: (left, left + RIGHT) for name, left in OWN.items()})
    _divide_white_matter(labels, regions)
    regions = {index: region for index, region in regions.items() if (labels == index).any()}
    image = Image(labels, t1w.affine)
    ordered = tuple(regions[index] for index in sorted(regions))
    return Atlas("qsmxt", t1w, image, ordered, _chi(image, ordered), SOURCES, "MNI152NLin2009cAsym")


def average_brain() -> Image:
    """Return the MNI152 2009c average brain without its skull, at 1 mm."""
    head = _read(BRAIN_2009C)
    return crop(head, head.array > 0, _MARGIN_MM)


def known_regions() -> tuple[Region, ...]:
    """Return the regions of the atlas without assembling it."""
    _, regions = _renamed(np.zeros((1, 1, 1), np.int32), freesurfer_names())
    return tuple(regions[index] for index in sorted(regions))


def _read(path: Path) -> Image:
    array, affine = read_volume(path)
    return Image(array.astype(np.float32), affine)


def _nearest(image: Image, grid: Grid) -> LabelArray:
    return np.asarray(np.rint(apply(image, grid, interpolation="nearest").array), dtype=np.int32)


def _axes(grid: Grid) -> list[NDArray[np.float64]]:
    """World coordinates along each axis of a grid that is straight in the world."""
    return [grid.affine[a, 3] + grid.affine[a, a] * np.arange(n) for a, n in enumerate(grid.shape)]


def _renamed(labels: LabelArray, names: dict[int, str]) -> tuple[LabelArray, dict[int, Region]]:
    """Give regions our names; parts that are too small for a map of chi go to what surrounds them."""
    labels = labels.copy()
    regions = {}
    for index, name in names.items():
        bare, side = split_hemisphere(name)
        if index in _CALLOSUM:
            labels[labels == index] = _CORPUS_CALLOSUM
        elif bare in _DROPPED:
            labels[labels == index] = 4 if side == "L" else 43
        elif bare in _NAMES:
            short = _NAMES[bare]
            regions[index] = Region(index, short, side, _kind(short))
        elif bare.startswith("ctx-") and "unknown" not in bare:
            regions[index] = Region(index, bare.removeprefix("ctx-"), side, "cortex")
        elif bare not in ("Pallidum", "Cerebral-White-Matter"):
            labels[labels == index] = 0
    regions[_CORPUS_CALLOSUM] = Region(_CORPUS_CALLOSUM, "corpus-callosum", "", "white")
    own = [(name, left, "nucleus") for name, left in OWN.items()]
    own += [(name, left, "white") for name, (left, _) in _LOBES.items()]
    for name, left, kind in own:
        regions[left] = Region(left, name, "L", kind)
        regions[left + RIGHT] = Region(left + RIGHT, name, "R", kind)
    return labels, regions


def _kind(name: str) -> str:
    if any(word in name for word in _FLUIDS):
        return "fluid"
    return "white" if name.endswith("white-matter") else "cortex" if name.endswith("cortex") else "nucleus"


def _within_tissue(t1w: Image, labels: LabelArray, regions: dict[int, Region]) -> LabelArray:
    """Move the labels' borders to where the average head has its own: they were delineated on another."""
    provisional = [*regions.values()]
    for side, pallidum, white in (("L", *(_PALLIDUM[0], 2)), ("R", *(_PALLIDUM[1], 41))):
        provisional += [
            Region(pallidum, "pallidum", side, "nucleus"),
            Region(white, "cerebral", side, "white"),
        ]
    classes = TissueClasses.of(provisional)
    found = labels_in_their_tissue(Image(labels, t1w.affine), classes, t1w, t1w.array > 0)
    return np.asarray(found.labels.array, dtype=np.int32)


def _separate_claustrum(labels: LabelArray) -> None:
    """Label as claustrum the putamen beside the insula."""
    for side, (putamen, insula) in enumerate(zip(_PUTAMEN, _INSULA, strict=True)):
        here = labels[bounding_box(labels == putamen, [_MARGIN_MM] * 3)]
        here[beside_insula(here == putamen, here == insula)] = OWN["claustrum"] + RIGHT * side


def _divide_pallidum(labels: LabelArray, axes: list[NDArray[np.float64]]) -> None:
    for side, (pallidum, putamen) in enumerate(zip(_PALLIDUM, _PUTAMEN, strict=True)):
        box = bounding_box(labels == pallidum, [_MARGIN_MM] * 3)
        here = labels[box]
        near = [axis[edge] for axis, edge in zip(axes, box, strict=True)]
        internal = internal_pallidum(here == pallidum, here == putamen, near)
        here[here == pallidum] = OWN["globus-pallidus-external"] + RIGHT * side
        here[internal] = OWN["globus-pallidus-internal"] + RIGHT * side


def _divide_white_matter(labels: LabelArray, regions: dict[int, Region]) -> None:
    for side, (white, hemisphere) in enumerate(((2, "L"), (41, "R"))):
        lobe_of = {}
        for left, members in _LOBES.values():
            for index, region in regions.items():
                if (
                    region.kind == "cortex"
                    and region.hemisphere == hemisphere
                    and region.name in members.split()
                ):
                    lobe_of[index] = left + RIGHT * side
        lobes = np.zeros(labels.shape, dtype=np.int32)
        for index, lobe in lobe_of.items():
            lobes[labels == index] = lobe
        where = labels == white
        labels[where] = nearest_of(lobes, lobes != 0)[where]


def _chi(labels: Image, regions: tuple[Region, ...]) -> Image:
    """A map of chi such as the labels would have it, as blurred as a map of 1 mm."""
    chi = np.zeros(int(labels.array.max()) + 1, dtype=np.float32)
    for region in regions:
        chi[region.index] = CHI.get(region.name, _CHI_OF_KIND.get(region.kind, 0.0))
    chi[_CORPUS_CALLOSUM] = _CHI_OF_KIND["white"]
    return labels.with_array(gaussian_filter(chi[labels.array], 0.7))


ATLAS = BuiltInAtlas(
    summary="deep grey matter, cortex, white matter by lobe and ventricles",
    sources=SOURCES,
    phrase=(
        "the built-in atlas, on the MNI152 2009c head [@fonov2011] with the labels of FreeSurfer's average "
        "of 35 heads [@fischl2002;@desikan2006] and small nuclei drawn as simple shapes "
        "[@keuken2014]"
    ),
    regions=known_regions,
    build=build,
)
