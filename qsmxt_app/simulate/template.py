"""The anatomy that all simulated people share: tissue maps and labels of the MNI152 head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    affine_transform,
    binary_closing,
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
)

from qsmxt_app.mni152.files import BRAIN_2009A, FREESURFER_LABELS, GREY_2009A, WHITE_2009A, read_volume
from qsmxt_app.mni152.nuclei import beside_insula, draw_small_nuclei, internal_pallidum
from qsmxt_app.simulate.tissues import CEREBELLUM, LABELS
from qsmxt_app.simulate.volume import HEAD_BOX, Volume, grid_axes

HEAD_SPACING = 2.0

# Numbers of FreeSurfer, left and right.
_FREESURFER = {
    "Hippocampus": (17, 53), "Amygdala": (18, 54), "Thalamus": (10, 49), "Putamen": (12, 51),
    "Caudate": (11, 50), "Accumbens": (26, 58),
}  # fmt: skip
_STRIATUM = ("Caudate", "Putamen", "Accumbens")
_WHITE = 0.8
"""Share of white matter above which a voxel is no nucleus of the striatum."""
_PALLIDUM, _INSULA = (13, 52), (1035, 2035)
_CEREBELLUM = (7, 8, 46, 47)
_DEEP = ((-48.0, -60.0, -40.0), (48.0, 45.0, 45.0))
"""Corners (mm) of the box that holds the nuclei, insula and all."""
_SMALL = ("Substantia-Nigra", "Red-Nucleus", "Subthalamic-Nucleus", "Dentate-Nucleus")


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
    """Read the maps and draw the labels on their grid.

    References
    ----------
    Fonov V, et al. NeuroImage 54:313-327 (2011): MNI152 2009.
    Fischl B, et al. Neuron 33:341-355 (2002): labels of FreeSurfer.
    """
    stored, affine = read_volume(BRAIN_2009A)
    mask, origin = stored > 0, affine[:3, 3]
    grey, white = (read_volume(path)[0].astype(np.float32) / 255 for path in (GREY_2009A, WHITE_2009A))
    labels = _labels(affine, grey, white, mask)
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


def _freesurfer_on(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.int32]:
    labels, own = read_volume(FREESURFER_LABELS)
    to_labels = np.linalg.inv(own) @ affine
    resampled = affine_transform(labels, to_labels[:3, :3], to_labels[:3, 3], output_shape=shape, order=0)
    return np.asarray(resampled, dtype=np.int32)


def _labels(
    affine: NDArray[np.float64], grey: NDArray, white: NDArray, mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    freesurfer = _freesurfer_on(affine, mask.shape)
    axes = [affine[a, 3] + np.arange(n, dtype=np.float32) for a, n in enumerate(mask.shape)]
    x, y, z = axes[0][:, None, None], axes[1][:, None], axes[2]
    labels = np.zeros(mask.shape, dtype=np.uint8)
    labels[binary_closing(np.isin(freesurfer, _CEREBELLUM), iterations=5)] = CEREBELLUM
    axis_y = np.where(z > -30, -25.0, -25.0 + 0.62 * (z + 30))
    radius = np.clip(17.5 + 0.12 * (z + 25), 12.0, 17.5)
    brainstem = (x**2 + (y - axis_y) ** 2 < radius**2) & (z < -8) & mask & (labels == 0)
    labels[brainstem] = LABELS["Brainstem"]
    fluid = mask & (grey + white < 0.5)
    central = (abs(x) < 42) & (y > -60) & (y < 40) & (z > -28) & (z < 34)
    labels[fluid & central & _deeper_than(mask, 14)] = LABELS["Ventricles"]
    deep = tuple(
        slice(*np.searchsorted(axis, (low, high))) for axis, low, high in zip(axes, *_DEEP, strict=True)
    )
    near = [axis[part] for axis, part in zip(axes, deep, strict=True)]
    grey_matter = (grey[deep] + white[deep] > 0.5) & (white[deep] < _WHITE)
    _add_large_nuclei(labels[deep], freesurfer[deep], near, grey_matter)
    numbers = {name.lower(): (LABELS[f"Left-{name}"], LABELS[f"Right-{name}"]) for name in _SMALL}
    draw_small_nuclei(labels, axes, numbers, crumpled=True)
    return labels


def _add_large_nuclei(
    labels: NDArray[np.uint8],
    freesurfer: NDArray[np.int32],
    axes: list[NDArray],
    grey_matter: NDArray[np.bool_],
) -> None:
    """Add FreeSurfer's nuclei; what of its average striatum is other tissue in this head stays that."""
    for at, side in enumerate(("Left", "Right")):
        bodies = {name: freesurfer == numbers[at] for name, numbers in _FREESURFER.items()}
        for name in _STRIATUM:
            bodies[name] &= grey_matter
        bodies["Putamen"] &= ~beside_insula(bodies["Putamen"], freesurfer == _INSULA[at])
        pallidum = freesurfer == _PALLIDUM[at]
        internal = internal_pallidum(pallidum, bodies["Putamen"], axes)
        bodies |= {"Globus-Pallidus-Internal": internal, "Globus-Pallidus-External": pallidum & ~internal}
        for name, body in bodies.items():
            labels[body] = LABELS[f"{side}-{name}"]


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
