"""All checks of a fitted field for faults of the input, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.phase_checks import echo_coherence, echo_warnings, fringe_warning, open_fringes
from qsmxt_app.qsm.sign_check import check_sign, sign_warnings


@dataclass(frozen=True)
class FieldChecks:
    """What was measured, by name, and what a person should know."""

    measures: Mapping[str, Any]
    warnings: tuple[str, ...]


def check_field_fit(
    magnitude: FloatArray,
    phase: FloatArray,
    total_field: FloatArray,
    *,
    filled: BoolArray,
    reliable: BoolArray,
    known: BoolArray,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
) -> FieldChecks:
    """Look for faults that make a map wrong without making a step fail.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Any unit, and rad.
    total_field : ndarray (x, y, z)
        ppm, unwrapped.
    filled, reliable : ndarray (x, y, z)
        The object, and where the data show it.
    known : ndarray (x, y, z)
        Where the field is known.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.

    Raises
    ------
    ValueError
        If shapes do not fit together.
    """
    fringes = open_fringes(magnitude[..., 0], phase[..., 0], mask=reliable, voxel_size=voxel_size)
    coherence = echo_coherence(phase, mask=filled).tolist()
    outline = check_sign(
        total_field, known & reliable, filled, voxel_size=voxel_size, b0_direction=b0_direction
    )
    measures = {
        "open_fringes_mm": fringes,
        "echo_coherence": coherence,
        "outline_correlation": outline.correlation if outline else None,
        "outline_contrast_ppm": outline.contrast if outline else None,
    }
    warnings = (*fringe_warning(fringes), *echo_warnings(coherence, ()), *sign_warnings(outline))
    return FieldChecks(measures, warnings)
