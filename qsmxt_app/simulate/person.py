"""One simulated person: a deformation of the template, tissue values, texture, veins and lesions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.template import Template, load_template
from qsmxt_app.simulate.tissues import LABELS, TISSUES
from qsmxt_app.simulate.volume import BRAIN_BOX, HEAD_BOX, Volume, grid_shape, random_field

_VEIN_SPACING = 0.75
_SMALL_VEINS = 90
_DEFORMATION_MM = 2.6
_SCALE_SPREAD = 0.035


@dataclass(frozen=True)
class Person:
    """What makes one person differ from the template.

    Attributes
    ----------
    template : Template
    scale : ndarray (3,)
        Size along x, y and z relative to the template.
    displacement : tuple of 3 Volume
        In mm, added to a point of the person to reach the template.
    chi : ndarray (tissues,)
        Mean susceptibility of every tissue in ppm.
    chi_within : ndarray (tissues,)
        Standard deviation of the texture in ppm.
    fine, coarse : Volume
        Random fields of unit variance for texture, and for where one tissue ends.
    bone_gap, bone_thickness : Volume
        In mm: fluid between brain and bone, and bone.
    veins : Volume
        Radius less distance to the vein's axis in mm: positive inside veins.
    lesions : ndarray (n, 5)
        Centre (mm, template), radius (mm) and tissue number of calcifications and microbleeds.
    """

    template: Template
    scale: NDArray[np.float64]
    displacement: tuple[Volume, Volume, Volume]
    chi: FloatArray
    chi_within: FloatArray
    fine: Volume
    coarse: Volume
    bone_gap: Volume
    bone_thickness: Volume
    veins: Volume
    lesions: NDArray[np.float64]


@lru_cache(maxsize=1)
def make_person(seed: int, index: int) -> Person:
    """Draw a person; the same seed and index give the same person always.

    Parameters
    ----------
    seed
        Seed of the study.
    index
        Number of the person in the study, from 1.
    """
    rng = np.random.default_rng([seed, index])
    template = load_template()
    chi = np.array([t.chi + t.chi_between * rng.standard_normal() for t in TISSUES], dtype=np.float32)
    for name, number in LABELS.items():  # both sides of one person resemble each other
        if name.startswith("Right-"):
            left = LABELS[name.replace("Right-", "Left-")]
            chi[number] = chi[left] + 0.25 * (chi[number] - TISSUES[number].chi)
    displacement = tuple(_deformation(rng) for _ in range(3))
    gap, thickness = random_field(rng, HEAD_BOX, 4.0, 12.0), random_field(rng, HEAD_BOX, 4.0, 14.0)
    return Person(
        template=template,
        scale=1 + _SCALE_SPREAD * rng.standard_normal(3),
        displacement=(displacement[0], displacement[1], displacement[2]),
        chi=chi,
        chi_within=np.array([t.chi_within for t in TISSUES], dtype=np.float32),
        fine=random_field(rng, BRAIN_BOX, 1.0, 1.0),
        coarse=random_field(rng, BRAIN_BOX, 2.0, 4.0),
        bone_gap=Volume(np.maximum(1.8 + 0.7 * gap.data, 0.8), gap.origin, gap.spacing),
        bone_thickness=Volume(np.maximum(6.0 + 1.4 * thickness.data, 2.5), gap.origin, gap.spacing),
        veins=_veins(rng, template),
        lesions=_lesions(rng, template),
    )


def _deformation(rng: np.random.Generator) -> Volume:
    wide, narrow = random_field(rng, HEAD_BOX, 6.0, 26.0), random_field(rng, HEAD_BOX, 6.0, 12.0)
    return Volume(_DEFORMATION_MM * (0.9 * wide.data + 0.35 * narrow.data), wide.origin, wide.spacing)


def _lesions(rng: np.random.Generator, template: Template) -> NDArray[np.float64]:
    """A calcification and two microbleeds, deep in white matter."""
    white = template.white
    candidates = np.argwhere(white.data[::3, ::3, ::3] > 0.97) * 3.0 * white.spacing + white.origin
    candidates = candidates[(candidates[:, 2] > -10) & (candidates[:, 2] < 50)]
    centres = candidates[rng.choice(len(candidates), 3, replace=False)]
    radii = np.array([rng.uniform(1.8, 2.8), rng.uniform(1.1, 1.9), rng.uniform(1.1, 1.9)])
    tissues = np.array([LABELS["Calcification"], LABELS["Microbleed"], LABELS["Microbleed"]])
    return np.column_stack([centres, radii, tissues]).astype(np.float64)


def _veins(rng: np.random.Generator, template: Template) -> Volume:
    """Sinuses and internal veins where everybody has them, and small veins that wander inwards."""
    depth = np.full(grid_shape(BRAIN_BOX, _VEIN_SPACING), -10.0, dtype=np.float32)
    for axis, (first, last) in _named_veins(rng):
        _draw(depth, axis, np.linspace(first, last, len(axis)), BRAIN_BOX[0], _VEIN_SPACING)
    brain = template.brain_distance
    for _ in range(_SMALL_VEINS):
        axis = _wandering(rng, brain)
        radius = rng.uniform(0.35, 0.85)
        _draw(depth, axis, np.linspace(radius, 0.5 * radius, len(axis)), BRAIN_BOX[0], _VEIN_SPACING)
    return Volume(depth, BRAIN_BOX[0], _VEIN_SPACING)


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
    heading = -start / np.linalg.norm(start)
    steps = rng.integers(40, 110)
    turns = rng.standard_normal((steps, 3))
    axis = np.empty((steps, 3))
    point = start
    for i in range(steps):
        heading = heading + 0.16 * turns[i]
        heading /= np.linalg.norm(heading)
        point = point + 0.4 * heading
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
