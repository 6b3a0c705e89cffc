"""Veins of a simulated person: where blood runs in the brain and on its surface."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.template import Template
from qsmxt_app.simulate.volume import BRAIN_BOX, Volume, grid_shape

_SPACING = 0.75
_SMALL_VEINS = 90
_SURFACE_VEINS = 14
"""Of each hemisphere."""
_STEP_MM = 0.4
_MIDLINE_MM = 2.5
_TOP = np.array([0.0, -12.0, 84.0])
"""A point above the vertex: veins of the convexity run up to the sagittal sinus."""


def inner_veins(rng: np.random.Generator, template: Template) -> Volume:
    """Sinuses and internal veins in their typical positions, and small veins that wander inwards.

    Returns
    -------
    Volume
        Radius less distance to the vein's axis in mm: positive inside veins.
    """
    depth = np.full(grid_shape(BRAIN_BOX, _SPACING), -10.0, dtype=np.float32)
    for axis, (first, last) in _named_veins(rng):
        _draw(depth, axis, np.linspace(first, last, len(axis)), BRAIN_BOX[0], _SPACING)
    brain = template.brain_distance
    for _ in range(_SMALL_VEINS):
        axis = _wandering(rng, brain)
        radius = rng.uniform(0.35, 0.85)
        _draw(depth, axis, np.linspace(radius, 0.5 * radius, len(axis)), BRAIN_BOX[0], _SPACING)
    return Volume(depth, BRAIN_BOX[0], _SPACING)


def surface_veins(rng: np.random.Generator, template: Template) -> Volume:
    """Veins on the convexity that run up to the sagittal sinus, each with branches that enter the cortex.

    Axes lie 0 to 4 mm below the brain's surface, so that veins are cut by the border of a mask, touch it or
    lie just below, and end where the hemispheres meet.

    Returns
    -------
    Volume
        Radius less distance to the vein's axis in mm: positive inside veins.
    """
    depth = np.full(grid_shape(BRAIN_BOX, _SPACING), -10.0, dtype=np.float32)
    distance = template.brain_distance
    smooth = Volume(gaussian_filter(distance.data, 1.5), distance.origin, distance.spacing)
    for side in (-1, 1):
        for _ in range(_SURFACE_VEINS):
            axis = _along_the_surface(rng, smooth, side)
            thickest = rng.uniform(0.9, 1.8)
            _draw(depth, axis, np.linspace(0.45 * thickest, thickest, len(axis)), BRAIN_BOX[0], _SPACING)
            for start in axis[rng.choice(len(axis), min(6, len(axis)), replace=False)]:
                branch = _inwards(rng, start)
                radius = rng.uniform(0.35, 0.7)
                _draw(depth, branch, np.linspace(radius, 0.5 * radius, len(branch)), BRAIN_BOX[0], _SPACING)
    return Volume(depth, BRAIN_BOX[0], _SPACING)


def no_veins() -> Volume:
    """A volume without any."""
    return Volume(np.full((2, 2, 2), -10.0, dtype=np.float32), BRAIN_BOX[0], 1.0)


def _along_the_surface(rng: np.random.Generator, distance: Volume, side: int) -> NDArray[np.float64]:
    """Axis (n, 3) in mm from the side of a hemisphere up to the midline, at a depth below the surface."""
    depth = rng.uniform(0.0, 4.0)
    point = np.array([side * rng.uniform(35, 62), rng.uniform(-75, 45), rng.uniform(-5, 35)])
    target = _TOP + np.array([0, 0.8 * (point[1] - _TOP[1]) + rng.normal(0, 8), 0])
    wander = np.zeros(3)
    axis = []
    for _ in range(600):
        outwards = _gradient(distance, point)
        point = point - outwards * (float(distance.at(point[None])[0]) + depth)
        axis.append(point)
        if abs(point[0]) < _MIDLINE_MM:
            break
        wander = 0.95 * wander + 0.12 * rng.standard_normal(3)
        heading = (target - point) / np.linalg.norm(target - point) + wander
        heading -= outwards * float(heading @ outwards)
        point = point + _STEP_MM * heading / max(float(np.linalg.norm(heading)), 1e-6)
    # the first points come from wherever the walk began, and are not on the surface yet
    return np.array(axis[5:])


def _gradient(distance: Volume, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector out of the brain."""
    steps = 2.0 * np.eye(3)
    gradient = (distance.at(point + steps) - distance.at(point - steps)).astype(np.float64)
    return np.asarray(gradient / max(float(np.linalg.norm(gradient)), 1e-6))


def _inwards(rng: np.random.Generator, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """A cortical vein: from a vein on the surface some millimetres into the brain."""
    return _walk(rng, start, -start / np.linalg.norm(start), int(rng.integers(20, 50)))


def _named_veins(rng: np.random.Generator) -> list[tuple[NDArray[np.float64], tuple[float, float]]]:
    """Axes (n, 3) in mm and radii at both ends: straight sinus, Galen, internal cerebral and septal veins."""
    veins = [
        (_curve([(0, -38, 2), (0, -58, -4), (0, -80, -12)]), (1.6, 2.2)),
        (_curve([(0, -30, 6), (0, -37, 8), (0, -38, 2)]), (1.2, 1.6)),
    ]
    for side in (-1, 1):
        jitter = rng.normal(0, 0.8, 3)
        veins.append(
            (_curve([(4 * side, 8, 4), (3 * side, -10, 13), (1 * side, -30, 6)], jitter), (0.7, 1.1))
        )
        veins.append(
            (_curve([(17 * side, 12, 18), (14 * side, 4, 14), (4 * side, 8, 4)], jitter), (0.4, 0.8))
        )
        veins.append(
            (_curve([(28 * side, -12, -14), (18 * side, -26, -6), (2 * side, -34, 4)], jitter), (0.6, 1.1))
        )
    return veins


def _curve(corners: list[tuple[float, float, float]], jitter: NDArray | None = None) -> NDArray[np.float64]:
    """Quadratic curve near the corners, a point every half millimetre or so."""
    a, b, c = (np.array(corner, dtype=np.float64) for corner in corners)
    if jitter is not None:
        b = b + jitter
    t = np.linspace(0, 1, 120)[:, None]
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c)


def _wandering(rng: np.random.Generator, brain_distance: Volume) -> NDArray[np.float64]:
    """Random walk that starts near the surface of the brain and goes inwards."""
    low, high = BRAIN_BOX
    for _ in range(1000):
        start = rng.uniform(low, high)
        if -6 < brain_distance.at(start[None])[0] < -1 and start[2] > -40:
            break
    return _walk(rng, start, -start / np.linalg.norm(start), int(rng.integers(40, 110)))


def _walk(
    rng: np.random.Generator, start: NDArray[np.float64], heading: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """Random walk whose direction changes little from step to step."""
    turns = rng.standard_normal((steps, 3))
    axis = np.empty((steps, 3))
    point = start
    for i in range(steps):
        heading = heading + 0.16 * turns[i]
        heading /= np.linalg.norm(heading)
        point = point + _STEP_MM * heading
        axis[i] = point
    return axis


@numba.njit(cache=True)
def _draw(
    depth: FloatArray, axis: NDArray, radius: NDArray, origin: NDArray, spacing: float
) -> None:  # pragma: no cover
    nx, ny, nz = depth.shape
    for p in range(axis.shape[0]):
        reach = radius[p] + 2 * spacing
        for i in range(
            max(0, int((axis[p, 0] - reach - origin[0]) / spacing)),
            min(nx, int((axis[p, 0] + reach - origin[0]) / spacing) + 2),
        ):
            for j in range(
                max(0, int((axis[p, 1] - reach - origin[1]) / spacing)),
                min(ny, int((axis[p, 1] + reach - origin[1]) / spacing) + 2),
            ):
                for k in range(
                    max(0, int((axis[p, 2] - reach - origin[2]) / spacing)),
                    min(nz, int((axis[p, 2] + reach - origin[2]) / spacing) + 2),
                ):
                    dx = origin[0] + i * spacing - axis[p, 0]
                    dy = origin[1] + j * spacing - axis[p, 1]
                    dz = origin[2] + k * spacing - axis[p, 2]
                    inside = radius[p] - np.sqrt(dx * dx + dy * dy + dz * dz)
                    depth[i, j, k] = max(depth[i, j, k], inside)
