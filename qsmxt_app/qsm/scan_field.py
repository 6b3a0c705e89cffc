"""From the echoes of a scan to what an inversion needs: its field and Laplacian, and where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.echo_combination import Combination
from qsmxt_app.qsm.echo_consistency import consistent_echoes
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.field_checks import check_field_fit, echo_number_warning, noise_warning
from qsmxt_app.qsm.morphology import with_inner_voids
from qsmxt_app.qsm.phase_checks import filter_warning
from qsmxt_app.qsm.relaxation import has_tissue_signal
from qsmxt_app.qsm.tgv import measured_laplacian
from qsmxt_app.qsm.tgv.receive_curvature import receive_curvature


@dataclass(frozen=True, eq=False)
class ScanField:
    """The field of a scan.

    Attributes
    ----------
    total_field, field_noise : ndarray (x, y, z)
        The fitted field and its standard error, Hz.
    random_noise : ndarray (x, y, z)
        Standard deviation of the field over repeated scans, Hz; 0 where the field is not known.
    field_trust : ndarray (x, y, z)
        0 (random) to 1 (certain); 0 outside the mask.
    offset : ndarray (x, y, z) or None
        Phase that all echoes share and that was removed, rad; None with one echo.
    laplacian, noise : ndarray (x, y, z) or (x, y, z, echo)
        Laplacian of the field, ppm/mm^2, and the standard error of that field, ppm; of each echo by itself
        where maps are combined.
    tissue : ndarray (x, y, z)
        Where the signal is tissue's.
    filled, reliable : ndarray (x, y, z)
        Both masks where the field is known.
    facts
        What is told about it.
    warnings
        What a person should check.
    """

    total_field: FloatArray
    field_noise: FloatArray
    random_noise: FloatArray
    field_trust: FloatArray
    offset: FloatArray | None
    laplacian: FloatArray
    noise: FloatArray
    tissue: BoolArray
    filled: BoolArray
    reliable: BoolArray
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]


def fit_scan_field(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: Sequence[float],
    *,
    filled: BoolArray,
    reliable: BoolArray,
    outline: BoolArray | None = None,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    field_strength: float,
    bipolar: str = "auto",
    unwrapping: str = "romeo",
    combination: Combination = "field",
) -> ScanField:
    """Remove phase offsets, fit the field to all echoes, and find out where it is known.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Any unit, and rad.
    echo_times
        s, ascending.
    filled, reliable : ndarray (x, y, z)
        Where chi is wanted, and where the data show it.
    outline : ndarray (x, y, z), optional
        The object, where it is larger than `filled`.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.
    field_strength
        T.
    bipolar
        Whether the readout alternates: ``yes``, ``no``, or ``auto``, as the phase says.
    unwrapping
        A name of `UNWRAPPING_METHODS`.
    combination
        What of the echoes is combined, one of `ECHO_COMBINATIONS`.

    Raises
    ------
    ValueError
        If the phase is noise everywhere, or echoes contradict each other.
    """
    times = np.asarray(echo_times)
    remarks: tuple[str, ...] = ()
    alternating = bipolar == "yes"
    if bipolar == "auto":
        phase, alternating, remarks = consistent_echoes(magnitude, phase, times, mask=filled)
    remarks += filter_warning(
        phase[..., -1], mask=filled, voxel_size=voxel_size, evolution=times[-1] * field_strength
    )
    fit = fit_total_field(
        magnitude, phase, times, mask=filled, voxel_size=voxel_size, bipolar=alternating,
        unwrapping=unwrapping,
    )  # fmt: skip
    certain = filled & fit.known
    known = with_inner_voids(certain, filled, voxel_size)
    if not certain.any():
        raise ValueError("the phase is noise everywhere in the mask: no field can be read from it")
    measured = measured_laplacian(
        magnitude, phase, times, field_strength=field_strength, voxel_size=voxel_size, mask=known,
        bipolar=alternating, fit=fit, combination=combination,
    )  # fmt: skip
    laplacian = measured.laplacian
    if len(times) == 1:
        laplacian -= np.where(
            known, receive_curvature(laplacian, reliable & certain, voxel_size), np.float32(0)
        )
    per_ppm = hz_per_ppm(field_strength)
    faults = check_field_fit(
        magnitude, phase, fit.total_field / np.float32(per_ppm), filled=filled, reliable=reliable,
        known=certain, outline=filled if outline is None else outline, voxel_size=voxel_size,
        b0_direction=b0_direction,
    )  # fmt: skip
    noise = float(np.median(fit.field_noise[certain]))
    remarks += echo_number_warning(len(times)) + noise_warning(noise / per_ppm, voxel_size)
    facts = {
        "bipolar": bool(alternating),
        "noise_median_hz": noise,
        "known_fraction": float(certain.sum() / filled.sum()),
        "trusted_fraction": float(np.mean(fit.trust[certain] > 0.5)),
        "residual_median_rad": float(np.median(fit.residual[certain])),
        "offsets_removed": len(times) > 1,
        **faults.measures,
    }
    return ScanField(
        total_field=fit.total_field,
        field_noise=fit.field_noise,
        random_noise=fit.random_noise,
        field_trust=np.where(filled, fit.trust, np.float32(0)),
        offset=fit.offset if len(times) > 1 else None,
        laplacian=laplacian,
        noise=measured.noise,
        tissue=has_tissue_signal(magnitude, times, voxel_size),
        filled=known,
        reliable=reliable & certain,
        facts=facts,
        warnings=(*remarks, *faults.warnings),
    )
