"""Paramagnetic and diamagnetic sources side by side in a voxel, and the relaxation that they cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.geometry import ScanGrid
from qsmxt_app.simulate.person import Person
from qsmxt_app.simulate.sampling import interpolate
from qsmxt_app.simulate.tissues import TISSUES
from qsmxt_app.simulate.volume import HEAD_BOX, random_field

STATIC_DEPHASING = 137.0
"""R2' of randomly distributed sources, 1/s per ppm at 3 T (Yablonskiy & Haacke 1994; Shin 2021)."""

_DIAMAGNETIC: Mapping[str, float] = {
    "Cerebral-Cortex": 0.015, "Cerebral-White-Matter": 0.045, "Caudate": 0.012, "Putamen": 0.012,
    "Globus-Pallidus-External": 0.015, "Globus-Pallidus-Internal": 0.018, "Thalamus": 0.025,
    "Substantia-Nigra": 0.015, "Red-Nucleus": 0.020, "Subthalamic-Nucleus": 0.015, "Dentate-Nucleus": 0.015,
    "Hippocampus": 0.014, "Amygdala": 0.014, "Accumbens": 0.010, "Cerebellar-Cortex": 0.015,
    "Cerebellar-White-Matter": 0.040, "Brainstem": 0.038,
}  # fmt: skip
"""Mean magnitude of myelin's and calcium's susceptibility in ppm; of no side."""
_SHARE: Mapping[str, float] = {"Vein": 0.35, "Microbleed": 0.34, "Calcification": 0.12}
"""Share of static dephasing in compact sources: theirs is a field around them, and blood diffuses in it."""
_TEXTURE_SHARE: Mapping[str, float] = {"white": 0.7, "nucleus": 0.1}
"""Share of the texture of chi that is one of diamagnetic sources; the rest is iron's."""
_OTHER_TEXTURE_SHARE = 0.3
_COMMON_SPREAD = 0.25
"""Relative standard deviation of sources of both kinds that are more or fewer together."""
_LESION_PPM, _LESION_MM = 0.15, 4.0
"""Iron and calcium in a lesion whose total susceptibility is that of the white matter around it."""


@dataclass(frozen=True)
class Sources:
    """What a perfect separation would find, on the grid of the scan; 0 outside the brain.

    Attributes
    ----------
    paramagnetic, diamagnetic : ndarray (x, y, z)
        Magnitudes in ppm: their difference is chi.
    r2, r2prime : ndarray (x, y, z)
        1/s.
    """

    paramagnetic: FloatArray
    diamagnetic: FloatArray
    r2: FloatArray
    r2prime: FloatArray


def static_dephasing(field_strength: float) -> float:
    """Return R2' of a ppm of sources in 1/s at a field strength in T."""
    return STATIC_DEPHASING * field_strength / 3


def tissue_r2(field_strength: float) -> FloatArray:
    """Return R2 of every tissue in 1/s: its R2* at 3 T without static dephasing, scaled with the field."""
    r2 = [
        tissue.r2star - _share(index) * STATIC_DEPHASING * (abs(tissue.chi) + 2 * _mixed(index))
        for index, tissue in enumerate(TISSUES)
    ]
    # spin-spin relaxation grows with the field as well, by half as much as the field or less (Cox 2010)
    return np.asarray(np.array(r2) * (0.6 + 0.4 * field_strength / 3), np.float32)


def diamagnetic_sources(
    tissue: NDArray[np.uint8], chi: FloatArray, person: Person, grid: ScanGrid, seed: int, index: int
) -> FloatArray:
    """Return the magnitude of the diamagnetic part of chi in ppm, on the fine grid of a scan.

    Parameters
    ----------
    tissue, chi : ndarray (x, y, z)
        Tissue numbers, and susceptibility in ppm: it is not changed.
    person : Person
    grid : ScanGrid
        Whose fine grid it is.
    seed, index
        Of the person.
    """
    rng = np.random.default_rng([seed, index, 8])
    common = random_field(rng, HEAD_BOX, 2.0, 4.0)
    diamagnetic = interpolate(common, grid.fine_origin, grid.fine_steps, grid.fine_shape)
    diamagnetic *= np.float32(_COMMON_SPREAD)
    diamagnetic += 1
    diamagnetic *= np.array([_diamagnetic(n) for n in range(len(TISSUES))], np.float32)[tissue]
    diamagnetic -= _texture_shares()[tissue] * (chi - person.chi.astype(np.float32)[tissue])
    diamagnetic += np.float32(_LESION_PPM) * _lesion(tissue, grid, rng)
    return np.asarray(np.maximum(diamagnetic, np.maximum(-chi, 0)), np.float32)


def dephasing_sources(tissue: NDArray[np.uint8], chi: FloatArray, diamagnetic: FloatArray) -> FloatArray:
    """Return what of the sources dephases the signal of its own voxel, in ppm."""
    shares = np.array([_share(n) for n in range(len(TISSUES))], np.float32)
    return np.asarray(shares[tissue] * (chi + 2 * diamagnetic), np.float32)


def _name(index: int) -> str:
    return TISSUES[index].name.removeprefix("Left-").removeprefix("Right-")


def _mixed(index: int) -> float:
    """Return how much of both kinds of sources cancels in the mean of a tissue, ppm."""
    tissue = TISSUES[index]
    return min(_diamagnetic(index), _diamagnetic(index) + tissue.chi)


def _diamagnetic(index: int) -> float:
    return _DIAMAGNETIC.get(_name(index), max(0.0, -TISSUES[index].chi))


def _share(index: int) -> float:
    if TISSUES[index].kind in ("air", "outside", "territory"):
        return 0.0
    return _SHARE.get(_name(index), 1.0)


def _texture_shares() -> FloatArray:
    shares = [
        _TEXTURE_SHARE.get(tissue.kind, _OTHER_TEXTURE_SHARE if _name(n) in _DIAMAGNETIC else 0.0)
        for n, tissue in enumerate(TISSUES)
    ]
    return np.asarray(shares, np.float32)


def _lesion(tissue: NDArray[np.uint8], grid: ScanGrid, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a ball in the white matter around the ventricles."""
    white = [n for n, one in enumerate(TISSUES) if one.kind == "white"]
    step = tuple(max(1, round(6 / edge)) for edge in grid.fine_voxel_size)
    inside = np.isin(tissue[:: step[0], :: step[1], :: step[2]], white)
    centres = np.argwhere(inside) * step @ grid.fine_steps.T + grid.fine_origin
    near = centres[np.linalg.norm(centres - [0, -15, 22], axis=1) < 35]
    centre = near[rng.integers(len(near))]
    ball = np.zeros(tissue.shape, bool)
    inverse = np.linalg.inv(grid.fine_steps)
    middle = np.round(inverse @ (centre - grid.fine_origin)).astype(int)
    reach = np.ceil(_LESION_MM / grid.fine_voxel_size).astype(int) + 1
    low = np.maximum(middle - reach, 0)
    part = tuple(slice(a, b) for a, b in zip(low, middle + reach + 1, strict=True))
    places = np.moveaxis(np.indices(ball[part].shape), 0, -1) + low
    away = np.linalg.norm(places @ grid.fine_steps.T + grid.fine_origin - centre, axis=-1)
    ball[part] = (away < _LESION_MM) & np.isin(tissue[part], white)
    return ball
