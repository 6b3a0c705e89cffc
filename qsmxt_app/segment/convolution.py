"""Dilated convolutions in three dimensions, on the processor, of as many voxels as the result depends on.

The neighbours of a row of voxels are laid below each other, and one matrix product, which fits into the
processor's cache, makes a row of all channels of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from threadpoolctl import threadpool_limits

from qsmxt_app.arrays import FloatArray, LabelArray


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution: weight (output, input, x, y, z), bias (output), and distance of its taps in voxels."""

    weight: FloatArray
    bias: FloatArray
    dilation: int


def most_likely(
    layers: Sequence[Layer], image: FloatArray, where: NDArray[np.bool_], *, elu: bool, threads: int = 1
) -> LabelArray:
    """Return the output of a network that is largest in each voxel.

    Parameters
    ----------
    layers
        Convolutions of 3 x 3 x 3 taps, with an activation behind each, and a last one of a single tap. What
        lies outside the image counts as 0 in every layer.
    image : ndarray (x, y, z)
    where : ndarray of bool (x, y, z)
        Where the result is wanted: what it does not depend on is not computed.
    elu
        Whether the activation is ELU; ReLU otherwise.
    threads
        Planes that are computed at once; they do not change the result.

    Returns
    -------
    ndarray (x, y, z), int32
        0 elsewhere.
    """
    *hidden, last = layers
    features = np.ascontiguousarray(image[:, :, None, :])
    # a product of its own for every thread: BLAS must not take more
    with threadpool_limits(1), ThreadPoolExecutor(max(1, threads)) as pool:
        for place, layer in enumerate(hidden):
            needed = _Rows.around(where, sum(later.dilation for later in hidden[place + 1 :]))
            features = _layer(features, layer, needed, elu, pool)
    classes = np.zeros(image.shape, np.int32)
    matrix = np.ascontiguousarray(last.weight.reshape(last.weight.shape[:2]))
    for x, y in np.argwhere(where.any(axis=2)):
        inside = where[x, y]
        classes[x, y, inside] = np.argmax(matrix @ features[x, y][:, inside] + last.bias[:, None], axis=0)
    return classes


@dataclass(frozen=True, eq=False)
class _Rows:
    """First voxel of each row along z that is needed, and the one behind the last."""

    first: LabelArray
    end: LabelArray

    @classmethod
    def around(cls, where: NDArray[np.bool_], margin: int) -> _Rows:
        """The rows that reach a margin beyond a mask."""
        size, any_, far = where.shape[2], where.any(axis=2), 2 * max(where.shape)
        first = np.where(any_, where.argmax(axis=2), far)
        end = np.where(any_, size - where[:, :, ::-1].argmax(axis=2), -far)
        width = 2 * margin + 1
        first = minimum_filter(first, width, mode="nearest") - margin
        end = maximum_filter(end, width, mode="nearest") + margin
        return cls(np.maximum(first, 0).astype(np.int32), np.minimum(end, size).astype(np.int32))


def _layer(
    features: FloatArray, layer: Layer, needed: _Rows, elu: bool, pool: ThreadPoolExecutor
) -> FloatArray:
    """Apply one layer to (x, y, channel, z)."""
    outputs = layer.bias.size
    made = np.zeros((*features.shape[:2], outputs, features.shape[3]), np.float32)
    # as the neighbours lie below each other: x, y, channel, z
    matrix = np.ascontiguousarray(layer.weight.transpose(0, 2, 3, 1, 4).reshape(outputs, -1))

    def plane(x: int) -> None:
        _convolve(features, matrix, layer.bias, layer.dilation, elu, x, needed.first, needed.end, made)

    list(pool.map(plane, range(len(features))))
    return made


@njit(cache=True, nogil=True)
def _convolve(
    features: FloatArray,
    matrix: FloatArray,
    bias: FloatArray,
    dilation: int,
    elu: bool,
    x: int,
    first: LabelArray,
    end: LabelArray,
    made: FloatArray,
) -> None:
    """Make the needed rows of one plane of (x, y, channel, z)."""
    nx, ny, channels, nz = features.shape
    taps = range(-dilation, dilation + 1, dilation)
    flat = np.empty(27 * channels * nz, np.float32)
    for y in range(ny):
        start, length = first[x, y], end[x, y] - first[x, y]
        if length <= 0:
            continue
        neighbours = flat[: 27 * channels * length].reshape(27 * channels, length)
        row = 0
        for a in taps:
            for b in taps:
                inside = 0 <= x + a < nx and 0 <= y + b < ny
                for channel in range(channels):
                    for c in taps:
                        below = min(max(-start - c, 0), length)
                        above = max(min(nz - start - c, length), below)
                        if not inside:
                            below = above = 0
                        neighbours[row, :below] = 0
                        if above > below:
                            begin = start + c
                            neighbours[row, below:above] = features[
                                x + a, y + b, channel, begin + below : begin + above
                            ]
                        neighbours[row, above:] = 0
                        row += 1
        sums = np.dot(matrix, neighbours)
        for channel in range(bias.size):
            for z in range(length):
                value = sums[channel, z] + bias[channel]
                if value < 0:
                    value = np.expm1(value) if elu else np.float32(0)
                made[x, y, channel, start + z] = value
