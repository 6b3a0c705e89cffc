"""What every method of source separation returns."""

from __future__ import annotations

from dataclasses import dataclass

from qsmxt_app.arrays import FloatArray


@dataclass(frozen=True)
class SeparatedSources:
    """Magnitudes of the sources of both kinds; 0 outside the mask.

    Attributes
    ----------
    paramagnetic, diamagnetic : ndarray (x, y, z)
        ppm, not negative: their difference is susceptibility.
    iterations
        0 for a closed form.
    converged
        Whether the iterations met their criterion.
    """

    paramagnetic: FloatArray
    diamagnetic: FloatArray
    iterations: int = 0
    converged: bool = True
