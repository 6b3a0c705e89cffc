"""From the maps of a scan to its separated sources, by any method of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray
from qsmxt_app.qsm.chi_noise import chi_noise
from qsmxt_app.qsm.constants import STATIC_DEPHASING
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.qsm.separation import SEPARATION_METHODS
from qsmxt_app.qsm.separation.fluid import fluid_susceptibility
from qsmxt_app.qsm.separation.result import SeparatedSources
from qsmxt_app.qsm.separation.reversible import (
    relaxivity,
    reversible_relaxation,
    typical_r2,
)

NO_FLUID = (
    "Source separation: too little fluid was found in the ventricles to refer susceptibility to; its "
    "reference was taken for water's, and both sources may be off by that."
)
MOSTLY = 0.5
"""Share of the mask in which R2 must be measured to say that it is."""
NO_R2 = (
    "Source separation: without R2, sources are qualitative in white matter; R2 was taken to be {:.1f} 1/s."
)


@dataclass(frozen=True)
class Separation:
    """Separated sources, and how they were found."""

    sources: SeparatedSources
    facts: Mapping[str, Any]


def separate_sources(
    chi: NDArray,
    mask: BoolArray,
    *,
    r2star: NDArray,
    r2: NDArray | None,
    magnitude: NDArray,
    total_field: NDArray,
    field_noise: NDArray,
    echo_times: Sequence[float],
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    field_strength: float,
    method: str = "joint",
    constant: float = STATIC_DEPHASING,
    threads: int | None = None,
) -> Separation:
    """Separate paramagnetic from diamagnetic sources.

    Parameters
    ----------
    chi : ndarray (x, y, z)
        ppm, relative to anything: it is referred to the fluid of the ventricles.
    mask : ndarray of bool (x, y, z)
        Where chi is known.
    r2star : ndarray (x, y, z)
        1/s.
    r2 : ndarray (x, y, z) or None
        1/s, 0 where it was not measured.
    magnitude : ndarray (x, y, z, echo)
        Any unit.
    total_field, field_noise : ndarray (x, y, z)
        Hz, and its standard error in ppm.
    echo_times
        s.
    voxel_size
        mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    field_strength
        T.
    method
        Of :data:`~qsmxt_app.qsm.separation.SEPARATION_METHODS`.
    constant
        R2' of a ppm of sources at 3 T, 1/s.
    threads
        Cores; no result depends on it.
    """
    geometry: dict[str, Any] = {"voxel_size": voxel_size, "b0_direction": b0_direction}
    fluid, volume = fluid_susceptibility(
        chi, r2star, mask, voxel_size=voxel_size, field_strength=field_strength
    )
    decay = reversible_relaxation(
        magnitude, r2, mask, field=total_field, echo_times=echo_times, field_strength=field_strength
    )
    per_ppm = relaxivity(field_strength, constant)
    chosen = SEPARATION_METHODS[method]
    takes_noise = "chi_noise" in chosen.needs
    noise = chi_noise(field_noise, mask, **geometry, threads=threads) if takes_noise else None
    sources = chosen(
        np.where(mask, chi - np.float32(fluid or 0), 0).astype(np.float32),
        mask,
        r2prime=decay.r2prime,
        r2prime_noise=decay.noise,
        r2star=r2star,
        relaxivity=per_ppm,
        chi_noise=noise,
        magnitude=combine_magnitude(magnitude),
        threads=threads,
        **geometry,
    )
    uses_r2 = "r2prime" in chosen.needs
    warnings = [NO_FLUID] if fluid is None else []
    if uses_r2 and decay.measured <= MOSTLY:
        warnings.append(NO_R2.format(typical_r2(field_strength)))
    facts = {
        "method": method,
        "relaxivity": round(per_ppm, 2),
        "fluid_ml": round(volume, 2),
        "fluid_chi_ppm": None if fluid is None else round(fluid, 4),
        "r2_measured_share": round(decay.measured, 3) if uses_r2 else None,
        "iterations": sources.iterations,
        "converged": sources.converged,
        "warnings": warnings,
    }
    return Separation(sources, {name: value for name, value in facts.items() if value is not None})
