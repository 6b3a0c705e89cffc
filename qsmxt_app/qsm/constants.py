"""Physical constants and the conversions that follow from them."""

from __future__ import annotations

GAMMA_BAR_MHZ_PER_T = 42.577478518
"""Gyromagnetic ratio of the proton over 2 pi, in MHz/T (CODATA 2018)."""

FEWEST_SPIN_ECHOES = 3
"""To fit R2: the first of them is left out."""

STATIC_DEPHASING = 137.0
"""R2' of a ppm of sources at 3 T, 1/s: measured in the deep grey nuclei of people (Shin 2021)."""

FIELD_MODEL_ERROR = 0.0003
"""Error of a field in ppm that no magnitude predicts (discretisation, motion, flow)."""


def hz_per_ppm(field_strength: float) -> float:
    """Frequency shift of one part per million of the main field.

    Parameters
    ----------
    field_strength
        B0 in T.

    Returns
    -------
    float
        Hz per ppm, 127.73 at 3 T.

    Raises
    ------
    ValueError
        If the field strength is not positive.

    Examples
    --------
    >>> round(hz_per_ppm(3.0), 2)
    127.73
    """
    if not field_strength > 0:
        raise ValueError(f"the field strength must be positive, not {field_strength} T")
    return GAMMA_BAR_MHZ_PER_T * field_strength
