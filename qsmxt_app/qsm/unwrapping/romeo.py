"""Exact phase unwrapping along the most reliable path (ROMEO)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.morphology import bounding_box
from qsmxt_app.qsm.unwrapping.checks import check_wrapped
from qsmxt_app.qsm.unwrapping.region_growing import (
    TILE,
    edges_in_tiles,
    grow_regions,
    neighbour_steps,
    phase_from_tiles,
    tiles_of,
)

SMALLEST_REGION = 8
"""Voxels below which a disconnected piece keeps its wrapped phase: specks of noise."""

_TWO_PI = np.float32(2 * np.pi)
_NOTHING = np.empty((0, 0, 0), np.float32)


def unwrap_romeo(
    phase: FloatArray,
    mask: BoolArray,
    *,
    magnitude: FloatArray | None = None,
    second: FloatArray | None = None,
    time_ratio: float | None = None,
) -> FloatArray:
    """Unwrap exactly, along the path of most reliable neighbours.

    The weight of an edge between two neighbours is the product of phase coherence, magnitude coherence and,
    where a second echo is given, phase gradient coherence (equations 1 to 4 of the paper). Its map, the mean
    weight around each voxel, is :func:`qsmxt_app.qsm.phase_quality.phase_quality`.

    Parameters
    ----------
    phase : ndarray (x, y, z)
        Wrapped phase in rad.
    mask : ndarray (x, y, z)
        Where to unwrap.
    magnitude : ndarray (x, y, z), optional
        Signal or any other measure of reliability that guides the path, not negative.
    second : ndarray (x, y, z), optional
        Wrapped phase of another echo in rad, whose gradients tell where those of `phase` are reliable.
    time_ratio
        Echo time of `phase` over that of `second`.

    Returns
    -------
    ndarray (x, y, z)
        Phase plus whole cycles, 0 outside the mask. Each connected piece of the mask is unwrapped on its
        own; its median lies within half a cycle of zero.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty, the phase contains NaN inside it, or a second echo comes without
        the ratio of times.

    References
    ----------
    Dymerska B, Eckstein K, Bachrata B, et al. Magn Reson Med 85:2294-2308 (2021). doi:10.1002/mrm.28563
    """
    check_wrapped(phase, mask)
    if (second is None) != (time_ratio is None):
        raise ValueError("a second echo and the ratio of echo times are needed together")
    box = bounding_box(mask)
    inside = np.ascontiguousarray(mask[box])
    wrapped, guide, other = (
        _NOTHING if image is None else np.ascontiguousarray(image[box], dtype=np.float32)
        for image in (phase, magnitude, second)
    )
    tiles = tiles_of(inside.shape)
    data = np.zeros(2 * TILE * math.prod(tiles), np.float32)
    edges_in_tiles(inside.shape[0], wrapped, guide, other, time_ratio or 1.0, inside, tiles, data)
    grow_regions(data, neighbour_steps(tiles), SMALLEST_REGION)
    unwrapped = np.zeros(inside.shape, np.float32)
    phase_from_tiles(inside.shape[0], data, inside, tiles, unwrapped)
    out = np.zeros(phase.shape, np.float32)
    out[box] = unwrapped
    return out


def unwrap_echoes(
    phase: FloatArray,
    mask: BoolArray,
    *,
    echo_times: Sequence[float],
    magnitude: FloatArray | None = None,
    template: int = 0,
) -> FloatArray:
    """Unwrap one echo in space, and the others in time from their neighbour towards it.

    Parameters
    ----------
    phase : ndarray (x, y, z, echo)
        Wrapped phase in rad, without an offset at an echo time of zero.
    mask : ndarray (x, y, z)
        Where to unwrap.
    echo_times : (echo,)
        s, ascending.
    magnitude : ndarray (x, y, z, echo), optional
        Signal.
    template
        Index of the echo that is unwrapped in space.

    Returns
    -------
    ndarray (x, y, z, echo)
        Phase plus whole cycles, 0 outside the mask.

    Raises
    ------
    ValueError
        If the echo times do not ascend from above 0 or do not fit the images, or as :func:`unwrap_romeo`.

    References
    ----------
    Dymerska B, Eckstein K, Bachrata B, et al. Magn Reson Med 85:2294-2308 (2021). doi:10.1002/mrm.28563
    """
    times = np.asarray(echo_times, dtype=float)
    if phase.ndim != 4 or phase.shape[3] != times.size:
        raise ValueError(f"{times.size} echo times do not fit a phase of shape {phase.shape}")
    if times[0] <= 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"echo times must be positive and ascend, not {times.tolist()} s")
    neighbour = template + (1 if template + 1 < times.size else -1)
    beside = {} if times.size == 1 else {
        "second": phase[..., neighbour], "time_ratio": times[template] / times[neighbour]
    }  # fmt: skip
    out = np.zeros(phase.shape, np.float32)
    out[..., template] = unwrap_romeo(
        phase[..., template],
        mask,
        magnitude=None if magnitude is None else magnitude[..., template],
        **beside,
    )
    later, earlier = range(template + 1, times.size), range(template - 1, -1, -1)
    for echoes, step in ((later, 1), (earlier, -1)):
        for echo in echoes:
            expected = out[..., echo - step] * np.float32(times[echo] / times[echo - step])
            cycles = np.rint((expected - phase[..., echo]) / _TWO_PI)
            out[..., echo] = np.where(mask, phase[..., echo] + _TWO_PI * cycles, np.float32(0))
    return out


METHOD = Method(unwrap_romeo, phrase="ROMEO [@dymerska2021]", needs=("magnitude",))
