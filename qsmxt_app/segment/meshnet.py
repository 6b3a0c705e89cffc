"""MeshNet: labels of a T1w by a small network of dilated convolutions, on the processor and without torch.

The network keeps the size of the image and looks around every voxel with growing and shrinking dilation, so
that ten layers of 30 channels see 93 mm.

References
----------
Fedorov A, et al. International Joint Conference on Neural Networks, 3785-3792 (2017).
Masoud M, et al. Brainchop. J Open Source Softw 8:5098 (2023): the weights.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.qsm.morphology import dilate
from qsmxt_app.registration import Grid, Image, apply
from qsmxt_app.registration.image import bounding_box
from qsmxt_app.segment.convolution import Layer, most_likely
from qsmxt_app.segment.regions import Region, split_hemisphere

EDGE, VOXEL = 256, 1.0
"""Voxels and mm of the grid that the network was trained on."""
LIA = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""Its axes: to the left, down, to the front."""
PERCENTILES = (2, 98)
MARGIN = 12
"""Voxels around the brain that the network is shown."""
REACH_MM = 3.0
"""How far beyond the brain's mask, which may be too tight, voxels are labelled."""
# what brainchop calls a region, what we call it, and its kind
_NAMES = {
    "Cerebral-White-Matter": ("cerebral-white-matter", "white"),
    "Cerebral-Cortex": ("cerebral-cortex", "cortex"),
    "Lateral-Ventricle": ("lateral-ventricle", "fluid"),
    "Inferior-Lateral-Ventricle": ("inferior-horn", "fluid"),
    "Cerebellum-White-Matter": ("cerebellar-white-matter", "white"),
    "Cerebellum-Cortex": ("cerebellar-cortex", "cortex"),
    "3rd-Ventricle": ("third-ventricle", "fluid"),
    "4th-Ventricle": ("fourth-ventricle", "fluid"),
    "Brain-Stem": ("brainstem", "nucleus"),
    "Accumbens-area": ("accumbens", "nucleus"),
    "VentralDC": ("ventral-diencephalon", "nucleus"),
    **{
        name: (name.lower(), "nucleus")
        for name in ("Thalamus", "Caudate", "Putamen", "Pallidum", "Hippocampus", "Amygdala")
    },
}
DESCRIPTION, CLASSES, WEIGHTS = "model.json", "colormap.json", "model.pth"


@dataclass(frozen=True, eq=False)
class Network:
    """A network and what its classes stand for; between its layers the activation is ELU or ReLU."""

    layers: tuple[Layer, ...]
    elu: bool
    regions: tuple[Region, ...]


def check_network(folder: Path) -> None:
    """Raise `NoInput` for a folder that lacks one of the files of a network."""
    for name in (DESCRIPTION, CLASSES, WEIGHTS):
        if not (folder / name).is_file():
            raise NoInput(
                f"--model {folder}: no {name}.", f"Needed are {DESCRIPTION}, {CLASSES} and {WEIGHTS}."
            )


def load_network(folder: Path) -> Network:
    """Read a network: `model.json`, `colormap.json` and the weights, a safetensors file whatever its name.

    Raises
    ------
    NoInput
        A file is missing or `safetensors` is not installed.
    UnusableData
        The files do not fit together, or the weights are a pickle, which is never opened.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as error:
        raise NoInput(
            "--segmentation meshnet needs safetensors.", "pip install qsmxt-app[meshnet]"
        ) from error
    check_network(folder)
    regions = network_regions(folder)
    try:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        weights = load((folder / WEIGHTS).read_bytes())
        layers = _layers(told, weights)
        if told.get("bnorm") or layers[-1].bias.size != 1 + len(regions):
            raise ValueError("batch normalisation, or another number of classes than of names")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UnusableData(
            f"{folder}: no network that can be used ({error}).", "Give the folder of a MeshNet of brainchop."
        ) from error
    return Network(layers, bool(told.get("elu")), regions)


def network_regions(folder: Path) -> tuple[Region, ...]:
    """Return the regions that a network labels, from `colormap.json` alone.

    Raises
    ------
    UnusableData
        The file is damaged.
    """
    try:
        names = json.loads((folder / CLASSES).read_text(encoding="utf-8"))["labels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableData(f"{folder / CLASSES}: no list of classes ({error}).", "Fetch it again.") from error
    return tuple(_region(index, name) for index, name in enumerate(names) if index)


def label_by_network(
    t1w: Image, brain: NDArray[np.bool_], folder: Path, *, threads: int = 1
) -> tuple[Image, tuple[Region, ...]]:
    """Label a T1w.

    Parameters
    ----------
    t1w : Image
    brain : ndarray of bool (x, y, z)
        It is labelled, with a rim; the network is shown the box around it, with which its memory grows.
    folder
        Of the network.
    threads
        Planes that are computed at once.

    Returns
    -------
    Image
        int32, on a grid of 1 mm around the brain.
    tuple of Region
        What the labels stand for.
    """
    network = load_network(folder)
    grid = conformed_grid(t1w)
    conformed = apply(t1w, grid)
    inside = apply(t1w.with_array(brain.astype(np.float32)), grid).array > 0.5
    box = bounding_box(inside, [MARGIN] * 3)
    shown = scale_intensities(conformed.array)[box]
    affine = np.array(grid.affine)
    affine[:3, 3] = apply_affine(grid.affine, [edge.start for edge in box])
    where = dilate(inside[box], REACH_MM, grid.voxel_size)
    return Image(classify(network, shown, where, threads=threads), affine), network.regions


def conformed_grid(image: Image) -> Grid:
    """Return the network's grid around the middle of an image: 256 voxels of 1 mm, axes LIA.

    The middle is a voxel, not a place between two, so that an image of such voxels is not interpolated.
    """
    middle = apply_affine(image.affine, np.array(image.array.shape) // 2)
    affine = np.eye(4)
    affine[:3, :3] = LIA * VOXEL
    affine[:3, 3] = middle - affine[:3, :3] @ np.full(3, EDGE / 2)
    return Grid((EDGE, EDGE, EDGE), affine)


def scale_intensities(image: FloatArray) -> FloatArray:
    """Scale the 2nd to the 98th percentile of an image to 0 to 1, and cut off what lies beyond."""
    low, high = np.percentile(image, PERCENTILES)
    if high <= low:  # hardly anything but background
        high = max(float(image.max()), low + 1)
    scaled = (image - np.float32(low)) / np.float32(high - low)
    return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


def classify(
    network: Network, image: FloatArray, where: NDArray[np.bool_], *, threads: int = 1
) -> NDArray[np.int32]:
    """Return the most likely class of every voxel of a mask, 0 elsewhere.

    Parameters
    ----------
    network : Network
    image : ndarray (x, y, z)
        Scaled to 0 to 1.
    where : ndarray of bool (x, y, z)
        Where it is wanted.
    threads
        Planes that are computed at once; they do not change the result.
    """
    return most_likely(network.layers, image, where, elu=network.elu, threads=threads)


def _layers(told: dict[str, Any], weights: dict[str, Any]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for place, described in enumerate(told["layers"]):
        weight, bias = weights[f"model.{2 * place}.weight"], weights[f"model.{2 * place}.bias"]
        size = described["kernel_size"]
        shape = (described["out_channels"], described["in_channels"], size, size, size)
        last = place == len(told["layers"]) - 1
        if weight.shape != shape or bias.shape != shape[:1] or size != (1 if last else 3):
            raise ValueError(f"layer {place} has weights of shape {weight.shape}")
        if layers and layers[-1].bias.size != shape[1]:
            raise ValueError(f"layer {place} takes other channels than there are")
        if math.prod(shape) == 0 or (not last and described["padding"] != described["dilation"]):
            raise ValueError(f"layer {place} changes the size of the image")
        layers.append(Layer(weight.astype(np.float32), bias.astype(np.float32), described["dilation"]))
    return tuple(layers)


def _region(index: int, name: str) -> Region:
    plain, side = split_hemisphere(name)
    ours, kind = _NAMES.get(plain, (plain.lower(), ""))
    return Region(index, ours, side, kind)
