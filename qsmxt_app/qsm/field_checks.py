"""All checks of a fitted field for faults of the input, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.phase_checks import echo_coherence, echo_warnings, fringe_warning, open_fringes
from qsmxt_app.qsm.sign_check import check_sign, sign_warnings
from qsmxt_app.qsm.tgv.layout import mean_edge

BIASED_PPM_MM = 0.012
"""Noise of the field times the voxel's edge, which the regularisation of TGV follows, from which contrasts
are lowered by 10 % and more in simulated heads."""


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
    outline: BoolArray,
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
        Where the field is fitted, and where the data show it.
    known : ndarray (x, y, z)
        Where the field is known.
    outline : ndarray (x, y, z)
        The object.
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
    sign = check_sign(
        total_field, known & reliable, outline, voxel_size=voxel_size, b0_direction=b0_direction
    )
    measures = {
        "open_fringes_mm": fringes,
        "echo_coherence": coherence,
        "outline_correlation": sign.correlation if sign else None,
        "outline_contrast_ppm": sign.contrast if sign else None,
    }
    warnings = (*fringe_warning(fringes), *echo_warnings(coherence, ()), *sign_warnings(sign))
    return FieldChecks(measures, warnings)


def echo_number_warning(echoes: int) -> tuple[str, ...]:
    """Say what a single echo cannot give."""
    if echoes != 1:
        return ()
    return (
        "There is only one echo: the map is qualitative. The phase of the receive coil cannot be separated "
        "from that of the tissue, and appears as slow shading that may exceed the contrast of tissue: do not "
        "compare values between participants. Acquire at least two echoes.",
    )


def noise_warning(noise_ppm: float, voxel_size: Sequence[float]) -> tuple[str, ...]:
    """Say that values are biased where noise is high.

    Parameters
    ----------
    noise_ppm
        Standard error of the field, median.
    voxel_size
        mm.
    """
    if noise_ppm * mean_edge(voxel_size) < BIASED_PPM_MM:
        return ()
    return (
        f"The field is noisy (standard error {1e3 * noise_ppm:.2g} ppb): values are biased. The "
        "regularisation follows the noise and lowers contrasts: nuclei and veins read 10 % and more too low. "
        "Acquire a higher signal-to-noise ratio, or more and later echoes.",
    )
