"""What every dipole inversion returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Inversion:
    """A susceptibility map.

    Attributes
    ----------
    chi : ndarray (x, y, z)
        Susceptibility in ppm, 0 outside the mask, not referenced.
    iterations : int
        Iterations done.
    converged : bool
        Whether the tolerance was reached before the cap on the iterations.
    """

    chi: NDArray[np.float32]
    iterations: int
    converged: bool
