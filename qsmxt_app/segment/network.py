"""Labels of a T1w image by a 3-D labelling network, run by ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from qsmxt_app.arrays import BoolArray, FloatArray, LabelArray
from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.qsm.morphology import dilate
from qsmxt_app.registration import Grid, Image, apply
from qsmxt_app.registration.image import bounding_box
from qsmxt_app.segment.regions import Region

MARGIN_VOXELS = 12
"""Around the brain, in what a network is shown that may be shown a part of its grid."""
REACH_MM = 3.0
"""How far beyond the brain mask, which may be too tight, voxels are labelled."""


@dataclass(frozen=True)
class InputGrid:
    """The image that a network was trained on.

    Attributes
    ----------
    shape
        Voxels along each axis.
    voxel_size
        Edge of its cubic voxels in mm.
    axes
        Direction in which each index grows, as `nibabel.aff2axcodes` writes it: `LIA`.
    percentiles
        Of the intensities of the whole image; they become 0 and 1, and what lies beyond is clipped.
    crop
        Whether the network may be shown the box around the brain alone, as fully convolutional ones may.
    """

    shape: tuple[int, int, int] = (256, 256, 256)
    voxel_size: float = 1.0
    axes: str = "LIA"
    percentiles: tuple[float, float] = (2.0, 98.0)
    crop: bool = True

    def around(self, image: Image) -> Grid:
        """Return the grid around the centre voxel of an image: one like it is not interpolated."""
        affine = np.zeros((4, 4))
        for index, (world, sign) in enumerate(nib.orientations.axcodes2ornt(self.axes)):
            affine[int(world), index] = sign * self.voxel_size
        affine[3, 3] = 1
        middle = apply_affine(image.affine, np.array(image.array.shape) // 2)
        affine[:3, 3] = middle - affine[:3, :3] @ (np.array(self.shape) // 2)
        return Grid(self.shape, affine)

    def scale(self, image: FloatArray) -> FloatArray:
        """Scale intensities: the lower percentile becomes 0, the upper one 1."""
        low, high = np.percentile(image, self.percentiles)
        if high <= low:  # almost only background
            high = max(float(image.max()), low + 1)
        scaled = (image - np.float32(low)) / np.float32(high - low)
        return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Network:
    """A labelling network.

    Attributes
    ----------
    model
        Serialised ONNX. One input of shape (1, 1, x, y, z), float32; the first output holds labels
        (1, x, y, z) or (1, 1, x, y, z), or a score of every class (1, class, x, y, z).
    regions
        What the labels, or the classes from 0, mean; a number without a region is background.
    grid : InputGrid
    """

    model: bytes
    regions: tuple[Region, ...]
    grid: InputGrid = InputGrid()


def label_by_network(
    t1w: Image, brain: BoolArray, network: Network, *, threads: int = 1
) -> tuple[Image, tuple[Region, ...]]:
    """Label a T1w image.

    Parameters
    ----------
    t1w : Image
    brain : ndarray of bool (x, y, z)
        It is labelled, with a rim.
    network : Network
    threads
        Cores for the network.

    Returns
    -------
    Image
        int32, on the grid of the network, or the part of it around the brain.
    tuple of Region
        What the labels stand for.
    """
    grid = network.grid.around(t1w)
    inside = apply(t1w.with_array(brain.astype(np.float32)), grid).array > 0.5
    shown = network.grid.scale(apply(t1w, grid).array)
    affine = np.array(grid.affine)
    if network.grid.crop:
        box = bounding_box(inside, [MARGIN_VOXELS] * 3)
        shown, inside = shown[box], inside[box]
        affine[:3, 3] = apply_affine(grid.affine, [edge.start for edge in box])
    where = dilate(inside, REACH_MM, grid.voxel_size)
    return Image(np.where(where, classify(network, shown, threads=threads), 0), affine), network.regions


def classify(network: Network, image: FloatArray, *, threads: int = 1) -> LabelArray:
    """Return the label of every voxel.

    Parameters
    ----------
    network : Network
    image : ndarray (x, y, z)
        Scaled as the network expects it.
    threads
        Cores for the network.

    Raises
    ------
    NoInput
        ONNX Runtime is not installed.
    UnusableData
        It cannot run the model, or the output is not a labelling of the image.
    """
    session = _session(network.model, threads)
    try:
        name = session.get_inputs()[0].name
        (output, *_) = session.run(None, {name: np.ascontiguousarray(image[None, None], np.float32)})
    except Exception as error:  # ONNX Runtime has many of its own
        raise UnusableData(f"The network cannot label the image ({_first_line(error)}).") from error
    labels = _labels(np.asarray(output), image.shape)
    known = np.zeros(max(int(labels.max()), *(region.index for region in network.regions)) + 1, np.int32)
    for region in network.regions:
        known[region.index] = region.index
    return known[labels]


def _session(model: bytes, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise NoInput("--model needs ONNX Runtime.", "pip install qsmxt-app[meshnet]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # the arena keeps what was freed: a third more memory at the peak
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many of its own
        raise UnusableData(f"ONNX Runtime cannot load the network ({_first_line(error)}).") from error


def _labels(output: Any, shape: Sequence[int]) -> LabelArray:
    """Labels of the image from the output of a network."""
    if output.ndim == 5 and output.shape[1] > 1:
        output = output.argmax(axis=1)
    labels = output.reshape(output.shape[-3:]) if output.size == np.prod(shape) else output
    if labels.shape != tuple(shape) or (labels < 0).any():
        raise UnusableData(
            f"The output of the network has the shape {output.shape}: no label for each voxel."
        )
    return np.asarray(np.rint(labels), dtype=np.int32)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:200]
