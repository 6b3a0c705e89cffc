"""The discrete TGV-QSM problem: stencils, flags and data in the layout that the sweep works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.morphology import squared_distance
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.layout import RaggedRows, aligned_zeros, mean_edge, ragged_rows

MIXED_GAIN = 1.05
"""Gain of the differences that stand for mixed derivatives, exact at waves of 11 voxels.

They give ``sin(k) sin(l)`` for ``k l``, short by the factor ``1 - (k^2 + l^2) / 6``. The second derivatives
along the axes lack as much as the Laplacian does, so that only tilted fields are affected: nuclei of some
voxels came out 3 % stronger there than in straight ones. The dipole kernel is now right to 0.02 for waves of
8 voxels and more, where it was to 0.03."""


@dataclass
class Problem:
    """Everything an iteration needs, in units of the mean voxel edge.

    Attributes
    ----------
    rows : RaggedRows
    flags : ndarray (size,), uint16
        Which duals exist at a voxel.
    state : ndarray (19, size), float32
        Variables and data, in the order of :mod:`.sweep`.
    coefficients : ndarray (22,), float32
    oblique : bool
        Whether the wave operator has mixed derivatives.
    length : float
        Mean voxel edge in mm, the unit of length.
    """

    rows: RaggedRows
    flags: NDArray[np.uint16]
    state: FloatArray
    coefficients: FloatArray
    oblique: bool
    length: float


def stencil_coefficients(voxel_size: Sequence[float], b0_direction: Sequence[float]) -> FloatArray:
    """Coefficients of Laplacian, wave operator and gradient in units of the mean voxel edge.

    ``Wave = Lap / 3 - (b . grad)^2`` for a unit vector b; second derivatives by central differences,
    mixed ones over the four diagonal neighbours, times `MIXED_GAIN`.

    References
    ----------
    Langkammer C, et al. NeuroImage 111:622-630 (2015), eq. 3, where b is along the third axis.
    """
    edges = np.asarray(voxel_size, dtype=np.float64)
    g = mean_edge(voxel_size) / edges
    b = np.asarray(b0_direction, dtype=np.float64)
    b = b / np.linalg.norm(b)
    b = np.where(np.abs(b) < 1e-6, 0.0, b)
    out = np.zeros(sweep.N_COEFFICIENTS)
    out[sweep.C_LX : sweep.C_LZ + 1] = g**2
    out[sweep.C_WX : sweep.C_WZ + 1] = (1 / 3 - b**2) * g**2
    for name, m, n in ((sweep.C_WXY, 0, 1), (sweep.C_WXZ, 0, 2), (sweep.C_WYZ, 1, 2)):
        out[name] = -2 * MIXED_GAIN * b[m] * b[n] * g[m] * g[n] / 4
    out[sweep.C_GX : sweep.C_GZ + 1] = g
    return out.astype(np.float32)


def _shifted(box: BoolArray, axis: int, step: int) -> BoolArray:
    """The box moved so that position v holds what was at v + step; empty beyond the end."""
    out = np.roll(box, -step, axis)
    edge = [slice(None)] * 3
    edge[axis] = slice(-1, None) if step > 0 else slice(0, 1)
    out[tuple(edge)] = False
    return out


def voxel_flags(inside: BoolArray, domain: BoolArray) -> NDArray[np.uint16]:
    """Which duals exist: those whose differences stay within the domain (natural boundary conditions)."""
    flags = np.zeros(domain.shape, dtype=np.uint16)
    flags[inside] |= sweep.EQUATION
    flags[domain & ~inside] |= sweep.RIM
    edge = [domain & _shifted(domain, a, 1) for a in range(3)]
    for bit, a in ((sweep.P_X, 0), (sweep.P_Y, 1), (sweep.P_Z, 2)):
        flags[edge[a]] |= bit
    for bit, a, b in (
        (sweep.Q_XX, 0, 0), (sweep.Q_YY, 1, 1), (sweep.Q_ZZ, 2, 2),
        (sweep.Q_XY, 0, 1), (sweep.Q_XZ, 0, 2), (sweep.Q_YZ, 1, 2),
    ):  # fmt: skip
        flags[edge[a] & _shifted(edge[a], b, -1) & edge[b] & _shifted(edge[b], a, -1)] |= bit
    return flags


def _caps(
    inside: BoolArray, slack: Sequence[float], tissue: BoolArray | None, factors: tuple[float, float]
) -> FloatArray:
    """Caps of the field equation's dual by depth; the distance between layers is a voxel."""
    caps = np.full(inside.shape, sweep.NO_CAP, np.float32)
    if slack:
        square = squared_distance(~inside, len(slack) + 1, (1, 1, 1))
        limited = inside & (square < (len(slack) + 1) ** 2)
        penalty = np.interp(np.sqrt(square[limited]), np.arange(1, len(slack) + 1), slack)
        if tissue is not None:
            penalty *= np.where(tissue[limited], np.where(square[limited] <= 1, *factors), 1)
        caps[limited] = np.minimum(penalty, sweep.NO_CAP)
    return np.where(inside, caps, 0)


def build_problem(
    laplacian: FloatArray,
    mask: BoolArray,
    weight: FloatArray | None,
    tissue: BoolArray | None = None,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    extend: bool = True,
    slack: Sequence[float] = (),
    tissue_factors: tuple[float, float] = (1.0, 1.0),
    axes: tuple[int, int, int] | None = None,
) -> Problem:
    """Crop, lay out and flag a problem; every variable starts at zero.

    Parameters
    ----------
    laplacian : ndarray (x, y, z)
        Laplacian of the measured field, any unit u / mm^2; chi then comes in u.
    mask : ndarray (x, y, z), bool
        Where the field equation holds.
    weight : ndarray (x, y, z), optional
        Inverse noise variance of the field, relative to its level in the mask; 1 without.
    tissue : ndarray (x, y, z), bool, optional
        Where the signal is tissue's.
    extend
        Whether noise and susceptibility also live on the stencil neighbours of the mask. Without, both are
        zero there: the published functional.
    slack
        Caps of the field equation's dual in the mask's outermost layers, from the outermost inwards.
    tissue_factors
        Factors on the caps of tissue in the outermost layer and in those below.
    axes
        Order in which to store the axes; without, the one in which the sweep is fastest.
    """
    rows, inside, domain = ragged_rows(mask, axes)
    order = list(rows.axes)
    voxel_size = [voxel_size[a] for a in order]
    b0_direction = [b0_direction[a] for a in order]
    if not extend:
        domain = inside
    length = mean_edge(voxel_size)
    state = aligned_zeros(sweep.N_STATE, rows.size)
    box = np.where(inside, rows.to_box(laplacian), 0) * np.float32(length**2)
    state[sweep.LAPLACIAN] = rows.flatten(box)
    weights = np.ones(domain.shape, np.float32) if weight is None else rows.to_box(weight, fill=0.0)
    state[sweep.WEIGHT] = rows.flatten(np.where(domain, weights, 2 * sweep.HELD))
    known = None if tissue is None else rows.to_box(tissue, fill=False)
    state[sweep.CAP] = rows.flatten(_caps(inside, slack, known, tissue_factors))
    coefficients = stencil_coefficients(voxel_size, b0_direction)
    coefficients[sweep.C_RIM] = 1.0
    oblique = bool(np.any(coefficients[sweep.C_WXY : sweep.C_WYZ + 1] != 0))
    flags = rows.flatten(voxel_flags(inside, domain), dtype=np.uint16)
    return Problem(rows, flags, state, coefficients, oblique, length)
