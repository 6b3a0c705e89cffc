"""One simulated person: a deformation of the template, tissue values, texture, air, veins and lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.template import Template, load_template
from qsmxt_app.simulate.tissues import LABELS, TISSUES
from qsmxt_app.simulate.veins import inner_veins, no_veins, surface_veins
from qsmxt_app.simulate.volume import BRAIN_BOX, HEAD_BOX, Volume, grid_axes, random_field

Anatomy = Literal["basic", "adult", "elderly"]
"""``basic`` has no vein on the brain's surface, and air spaces of one size; ``adult`` has such veins,
dura and air spaces of different sizes; ``elderly`` moreover has wide ventricles and sulci, a thick skull
and more iron."""

_DEFORMATION_MM = 2.6
_SCALE_SPREAD = 0.035
_AIR_SPREAD = 0.2
_DURA_MM = 0.8
_VENTRICLES = (np.array([0.0, -8.0, 14.0]), np.array([24.0, 36.0, 22.0]))
"""Centre and extent in mm of what widens with the ventricles."""

CORTEX_ENDS = 0.46
"""Share of grey and white matter below which a voxel of the template is fluid."""

# Air-filled spaces as ellipsoids in MNI coordinates: centre and half axes in mm. Frontal, sphenoid, ethmoid
# and maxillary sinuses, nose, mastoid cells, ear canals, throat, mouth.
_CAVITIES = np.array(
    [
        (9, 72, -12, 9, 6, 13), (-10, 72, -10, 10, 6, 14),
        (0, 18, -38, 12, 11, 9),
        (8, 44, -34, 5, 17, 9), (-8, 44, -34, 5, 17, 9),
        (27, 44, -62, 13, 15, 15), (-27, 44, -62, 13, 15, 15),
        (0, 52, -58, 4, 32, 14),
        (54, -34, -46, 8, 9, 12), (-54, -34, -46, 8, 9, 12),
        (64, -16, -44, 18, 3.5, 3.5), (-64, -16, -44, 18, 3.5, 3.5),
        (0, 2, -88, 9, 8, 34),
        (0, 40, -92, 18, 26, 5),
    ],
    dtype=np.float32,
)  # fmt: skip


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
    veins, surface_veins : Volume
        Radius less distance to the vein's axis in mm: positive inside veins. Those of the surface are not
        confined to the brain.
    cavities : ndarray (n, 6)
        Spaces with air: centre and half axes in mm.
    dura_mm : float
        Thickness of the dura, inside the bone.
    cortex_ends : float
        Share of grey and white matter below which a voxel of the template is fluid.
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
    surface_veins: Volume
    cavities: FloatArray
    dura_mm: float
    cortex_ends: float
    lesions: NDArray[np.float64]


@lru_cache(maxsize=1)
def make_person(seed: int, index: int, anatomy: Anatomy = "basic") -> Person:
    """Draw a person; the same seed and index give the same person always.

    Parameters
    ----------
    seed
        Seed of the study.
    index
        Number of the person in the study, from 1.
    anatomy
        What of a head there is: the same person with more or less in the head.
    """
    rng = np.random.default_rng([seed, index])
    template = load_template()
    chi = draw_chi(rng)
    displacement = tuple(_deformation(rng) for _ in range(3))
    gap, thickness = random_field(rng, HEAD_BOX, 4.0, 12.0), random_field(rng, HEAD_BOX, 4.0, 14.0)
    person = Person(
        template=template,
        scale=1 + _SCALE_SPREAD * rng.standard_normal(3),
        displacement=(displacement[0], displacement[1], displacement[2]),
        chi=chi,
        chi_within=np.array([t.chi_within for t in TISSUES], dtype=np.float32),
        fine=random_field(rng, BRAIN_BOX, 1.0, 1.0),
        coarse=random_field(rng, BRAIN_BOX, 2.0, 4.0),
        bone_gap=Volume(np.maximum(1.8 + 0.7 * gap.data, 0.8), gap.origin, gap.spacing),
        bone_thickness=Volume(np.maximum(6.0 + 1.4 * thickness.data, 2.5), gap.origin, gap.spacing),
        veins=inner_veins(rng, template),
        surface_veins=no_veins(),
        cavities=_CAVITIES,
        dura_mm=0.0,
        cortex_ends=CORTEX_ENDS,
        lesions=_lesions(rng, template),
    )
    if anatomy == "basic":
        return person
    person = _adult(np.random.default_rng([seed, index, 4]), person)
    return _elderly(person) if anatomy == "elderly" else person


def draw_chi(rng: np.random.Generator) -> FloatArray:
    """Draw the mean susceptibility in ppm of every tissue of a person."""
    # all people have the same dura: a number drawn for it would change the other tissues of all people
    chi = np.array(
        [t.chi + (t.chi_between * rng.standard_normal() if t.name != "Dura" else 0) for t in TISSUES],
        dtype=np.float32,
    )
    for name, number in LABELS.items():  # both sides of one person resemble each other
        if name.startswith("Right-"):
            left = LABELS[name.replace("Right-", "Left-")]
            chi[number] = chi[left] + 0.25 * (chi[number] - TISSUES[number].chi)
    return chi


def change_chi(person: Person, change: Mapping[str, float]) -> Person:
    """Return the person with susceptibility in ppm added to tissues, by their name."""
    chi = person.chi.copy()
    for name, ppm in change.items():
        chi[LABELS[name]] += np.float32(ppm)
    return replace(person, chi=chi)


def _adult(rng: np.random.Generator, person: Person) -> Person:
    """The person with veins on the brain's surface, dura, and air spaces of an own size each."""
    cavities = person.cavities.copy()
    cavities[:, 3:] *= np.exp(_AIR_SPREAD * rng.standard_normal((len(cavities), 1))).astype(np.float32)
    veins = surface_veins(rng, person.template)
    return replace(person, surface_veins=veins, cavities=cavities, dura_mm=_DURA_MM)


def _elderly(person: Person) -> Person:
    """The person some decades later."""
    centre, extent = _VENTRICLES
    first = person.displacement[0]
    box = (first.origin, first.origin + (np.array(first.data.shape) - 1) * first.spacing)
    away = [axis - np.float32(c) for axis, c in zip(grid_axes(box, first.spacing), centre, strict=True)]
    near = np.exp(-0.5 * sum((a / np.float32(e)) ** 2 for a, e in zip(away, extent, strict=True)))
    widened = [
        Volume((volume.data - np.float32(0.35) * a * near).astype(np.float32), volume.origin, volume.spacing)
        for volume, a in zip(person.displacement, away, strict=True)
    ]
    bone, chi = person.bone_thickness, person.chi.copy()
    iron = [n for n, tissue in enumerate(TISSUES) if tissue.kind == "nucleus" and tissue.chi > 0.04]
    chi[iron] *= np.float32(1.2)
    return replace(
        person,
        displacement=(widened[0], widened[1], widened[2]),
        chi=chi,
        bone_thickness=Volume(bone.data + np.float32(1.5), bone.origin, bone.spacing),
        cortex_ends=0.6,
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
