"""What every background field removal returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BackgroundRemoval:
    """A local field and where it is known.

    Attributes
    ----------
    local_field : ndarray (x, y, z)
        Field of the sources inside the mask, in the unit of the total field, 0 outside `mask`.
    mask : ndarray of bool (x, y, z)
        Voxels in which there is a local field; methods with a finite kernel erode the given mask.
    measured : ndarray of bool (x, y, z)
        Those in which it tells something. At the border the method has set it, or it is that of voxels that
        hold something else too: an inversion that gives them no weight is more accurate.
    iterations : int
        Iterations done, 0 for a direct method.
    converged : bool
        Whether the tolerance was reached before the cap on the iterations.
    """

    local_field: NDArray[np.float32]
    mask: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    iterations: int
    converged: bool
