"""Which tissue is where: the anatomy of a person, sampled on any grid."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.person import Person
from qsmxt_app.simulate.sampling import in_slabs, plain, value_at
from qsmxt_app.simulate.tissues import CEREBELLUM, LABELS

_L = {name.replace("-", "_").upper(): number for name, number in LABELS.items()}
_CSF, _VEIN, _BONE, _MARROW = _L["CSF"], _L["VEIN"], _L["BONE"], _L["MARROW"]
_FAT, _MUSCLE, _SKIN, _EYE = _L["FAT"], _L["MUSCLE"], _L["SKIN"], _L["EYE"]
_AIR, _SINUS, _DURA = _L["BACKGROUND"], _L["SINUS_AIR"], _L["DURA"]
_CORTEX = (_L["LEFT_CEREBRAL_CORTEX"], _L["RIGHT_CEREBRAL_CORTEX"])
_WHITE = (_L["LEFT_CEREBRAL_WHITE_MATTER"], _L["RIGHT_CEREBRAL_WHITE_MATTER"])
_CEREBELLAR_CORTEX = (_L["LEFT_CEREBELLAR_CORTEX"], _L["RIGHT_CEREBELLAR_CORTEX"])
_CEREBELLAR_WHITE = (_L["LEFT_CEREBELLAR_WHITE_MATTER"], _L["RIGHT_CEREBELLAR_WHITE_MATTER"])

SCALP_MM = 6.0
"""Thickness of skin, fat and muscle over the skull."""

_EYES = np.array([(33, 62, -36, 12), (-33, 62, -36, 12)], dtype=np.float32)


def sample_anatomy(
    person: Person, origin: NDArray[np.float64], steps: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], FloatArray, NDArray[np.bool_]]:
    """Tissue, susceptibility and brain on a grid.

    Parameters
    ----------
    person : Person
    origin : ndarray (3,)
        Position of the first point in head coordinates (mm).
    steps : ndarray (3, 3)
        Columns are the steps in mm from one point to the next along the grid's axes.
    shape
        Points along each axis.

    Returns
    -------
    tissue : ndarray (x, y, z), uint8
        Numbers of :data:`~qsmxt_app.simulate.tissues.LABELS`.
    chi : ndarray (x, y, z)
        ppm, relative to water.
    brain : ndarray (x, y, z), bool
    """
    tissue = np.empty(shape, dtype=np.uint8)
    chi = np.empty(shape, dtype=np.float32)
    brain = np.empty(shape, dtype=np.bool_)
    template = person.template
    arguments = (
        origin.astype(np.float32), steps.astype(np.float32), (1 / person.scale).astype(np.float32),
        tuple(plain(v) for v in person.displacement),
        plain(template.brain), plain(template.grey), plain(template.white), plain(template.labels),
        plain(template.hull_distance), plain(person.bone_gap), plain(person.bone_thickness),
        plain(person.fine), plain(person.coarse), plain(person.veins), plain(person.surface_veins),
        person.cavities, np.float32(person.dura_mm), np.float32(person.cortex_ends),
        person.lesions.astype(np.float32), person.chi, person.chi_within, tissue, chi, brain,
    )  # fmt: skip
    in_slabs(shape[0], lambda first, last: _sample(first, last, *arguments))
    return tissue, chi, brain


@numba.njit(cache=True, nogil=True)
def _nearest(volume: Any, x: Any, y: Any, z: Any) -> int:  # pragma: no cover
    data, origin, density = volume
    i = math.floor((x - origin[0]) * density + 0.5)
    j = math.floor((y - origin[1]) * density + 0.5)
    k = math.floor((z - origin[2]) * density + 0.5)
    if i < 0 or j < 0 or k < 0 or i >= data.shape[0] or j >= data.shape[1] or k >= data.shape[2]:
        return 0
    return int(data[i, j, k])


@numba.njit(cache=True, nogil=True)
def _brain_tissue(
    x: Any, label: int, grey: Any, white: Any, fold: Any, cortex_ends: Any
) -> int:  # pragma: no cover
    """Nuclei by their label, elsewhere what is most probable; the random fold moves the borders."""
    if label not in (0, CEREBELLUM):
        return label
    side = 0 if x < 0 else 1
    cerebellum = label == CEREBELLUM
    if white > np.float32(0.5) + np.float32(0.10) * fold:
        return _CEREBELLAR_WHITE[side] if cerebellum else _WHITE[side]
    if grey + white > cortex_ends - np.float32(0.10) * fold:
        return _CEREBELLAR_CORTEX[side] if cerebellum else _CORTEX[side]
    return _CSF


@numba.njit(cache=True, nogil=True)
def _in_cavity(x: Any, y: Any, z: Any, roughness: Any, cavities: Any) -> bool:  # pragma: no cover
    for n in range(cavities.shape[0]):
        r = (
            ((x - cavities[n, 0]) / cavities[n, 3]) ** 2
            + ((y - cavities[n, 1]) / cavities[n, 4]) ** 2
            + ((z - cavities[n, 2]) / cavities[n, 5]) ** 2
        )
        if r < 1 + np.float32(0.12) * roughness:
            # mastoid air is divided into cells by thin bone
            return not (n in (8, 9) and math.sin(x * 1.6) * math.sin(y * 1.5) * math.sin(z * 1.7) > 0.25)
    return False


@numba.njit(cache=True, nogil=True)
def _meninges(outer: Any, vein: Any) -> int:  # pragma: no cover
    if vein > 0:
        return _VEIN
    return _DURA if outer else _CSF


@numba.njit(cache=True, nogil=True)
def _outer_tissue(
    x: Any, y: Any, z: Any, hull: Any, gap: Any, thickness: Any, rough: Any, vein: Any, cavities: Any,
    dura: Any,
) -> int:  # fmt: skip  # pragma: no cover
    if hull < gap:
        return _meninges(hull > gap - dura, vein)
    if hull > np.float32(1.5) and _in_cavity(x, y, z, rough, cavities):
        return _SINUS
    # the superior sagittal sinus runs between brain and skull along the midline
    if (
        abs(x) < np.float32(4.5) - np.float32(0.6) * hull
        and hull < 7
        and z > -12
        and y < 62
        and z > -0.5 * y - 40
    ):
        return _VEIN
    if z > -42 or hull < gap + np.float32(0.5) * thickness:
        depth = (hull - gap) / thickness
        if depth < 1:
            diploe = thickness > 4 and np.float32(0.35) < depth < np.float32(0.65)
            return _MARROW if diploe else _BONE
    for n in range(_EYES.shape[0]):
        if (x - _EYES[n, 0]) ** 2 + (y - _EYES[n, 1]) ** 2 + (z - _EYES[n, 2]) ** 2 < _EYES[n, 3] ** 2:
            return _EYE
    return _soft_tissue(x, y, z, hull - gap - thickness, rough)


@numba.njit(cache=True, nogil=True)
def _soft_tissue(x: Any, y: Any, z: Any, beyond_bone: Any, rough: Any) -> int:  # pragma: no cover
    """Scalp, face and neck, from the skin inwards."""
    one = np.float32(1)
    scalp = SCALP_MM - beyond_bone
    face = 46 * (
        one - math.sqrt((x / 62) ** 2 + ((y - 25) / 66) ** 2 + ((z + 62) / 56) ** 2 + np.float32(1e-6))
    )
    nose = 8 * (
        one - math.sqrt((x / 13) ** 2 + ((y - 90) / 18) ** 2 + ((z + 48) / 22) ** 2 + np.float32(1e-6))
    )
    neck = 50 - math.sqrt(x**2 + (y + 18) ** 2) if z < -50 else np.float32(-9)
    inward = max(scalp, face, nose, neck)
    if inward < 0:
        return _AIR
    if inward < np.float32(1.6):
        return _SKIN
    if z < -60 and x**2 + (y + 22) ** 2 < 13**2:
        return _MARROW if math.sin(z * np.float32(0.25)) > -0.8 else _CSF
    if z < -60 and (abs(x) - 34) ** 2 < 36 and -10 < y < 60 and z > -100:
        return _BONE
    if inward < np.float32(4.0) + rough:
        return _FAT
    return _FAT if rough > np.float32(1.1) else _MUSCLE


@numba.njit(cache=True, nogil=True)
def _sample(
    first: int, last: int, origin: Any, steps: Any, inverse_scale: Any, displacement: Any, brain_map: Any,
    grey: Any, white: Any, labels: Any, hull_distance: Any, bone_gap: Any, bone_thickness: Any, fine: Any,
    coarse: Any, veins: Any, surface_veins: Any, cavities: Any, dura: Any, cortex_ends: Any, lesions: Any,
    chi_mean: Any, chi_within: Any, tissue: Any, chi: Any, brain: Any,
) -> None:  # fmt: skip  # pragma: no cover
    _, ny, nz = tissue.shape
    for i in range(first, last):
        for j in range(ny):
            for k in range(nz):
                px = (origin[0] + i * steps[0, 0] + j * steps[0, 1] + k * steps[0, 2]) * inverse_scale[0]
                py = (origin[1] + i * steps[1, 0] + j * steps[1, 1] + k * steps[1, 2]) * inverse_scale[1]
                pz = (origin[2] + i * steps[2, 0] + j * steps[2, 1] + k * steps[2, 2]) * inverse_scale[2]
                x = px + value_at(displacement[0], px, py, pz)
                y = py + value_at(displacement[1], px, py, pz)
                z = pz + value_at(displacement[2], px, py, pz)
                texture = np.float32(0)
                surface_vein = value_at(surface_veins, x, y, z)
                inside = value_at(brain_map, x, y, z) > np.float32(0.5)
                if inside:
                    fold = value_at(coarse, x, y, z)
                    texture = np.float32(0.75) * value_at(fine, x, y, z) + np.float32(0.66) * fold
                    number = _brain_tissue(
                        x, _nearest(labels, x, y, z), value_at(grey, x, y, z), value_at(white, x, y, z), fold,
                        cortex_ends,
                    )  # fmt: skip
                    if value_at(veins, x, y, z) > 0 or surface_vein > 0:
                        number = _VEIN
                    for n in range(lesions.shape[0]):
                        r = (x - lesions[n, 0]) ** 2 + (y - lesions[n, 1]) ** 2 + (z - lesions[n, 2]) ** 2
                        if r < lesions[n, 3] ** 2:
                            number = int(lesions[n, 4])
                else:
                    number = _outer_tissue(
                        x, y, z, value_at(hull_distance, x, y, z),
                        value_at(bone_gap, px, py, pz), value_at(bone_thickness, px, py, pz),
                        value_at(bone_gap, py, pz, px) - np.float32(1.8), surface_vein, cavities, dura,
                    )  # fmt: skip
                tissue[i, j, k] = number
                brain[i, j, k] = inside
                chi[i, j, k] = chi_mean[number] + chi_within[number] * texture
