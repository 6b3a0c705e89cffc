"""Background removal by Laplace's equation with the total field as boundary value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.background.border import border_of, within_doubtful_border
from qsmxt_app.qsm.background.harmonic import HarmonicFields
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field


def lbv(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    weights: NDArray | None = None,
    peel: int = 0,
    tolerance: float = 1e-5,
) -> BackgroundRemoval:
    """Laplacian boundary value method: the background is harmonic and equals the total field at the border.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in any unit, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest; the local field in its outermost layer is 0 by construction.
    voxel_size
        Voxel edges in mm.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit. A wrong boundary value would spread far into the mask, so
        the border moves inwards past voxels with less than a tenth of the median weight; these stay in the
        mask with a local field of 0, and are not `measured`.
    peel
        Layers of voxels removed from the mask first, where the field at its border is not to be trusted.
    tolerance
        Relative residual at which the multigrid-preconditioned conjugate gradients stop.

    Returns
    -------
    BackgroundRemoval

    Raises
    ------
    ValueError
        If the input cannot be used, or nothing is left of the mask.

    References
    ----------
    Zhou D, Liu T, Spincemaille P, Wang Y. NMR Biomed 27:312-319 (2014). doi:10.1002/nbm.3064
    """
    check_field(total_field, mask, voxel_size, weights=weights)
    if peel < 0:
        raise ValueError(f"the number of layers to peel must not be negative, not {peel}")
    region = np.asarray(mask, bool)
    for _ in range(peel):
        region = region & ~border_of(region)
    if not region.any():
        raise ValueError(f"nothing is left of the mask after peeling off {peel} layers")
    solved = within_doubtful_border(region, weights)
    grid = PaddedGrid(solved, voxel_size, margin=max(voxel_size))
    fields = HarmonicFields(grid.mask, voxel_size)
    field = grid.embed_masked(total_field)
    local = field - fields.extend(field, tolerance)
    return BackgroundRemoval(grid.extract(local), region, solved & ~border_of(solved), 0, True)


METHOD = Method(
    lbv,
    phrase="the Laplacian boundary value method [@zhou2014]",
    needs=("voxel_size", "weights"),
    units={"peel": "voxels", "tolerance": ""},
    papers=(
        Reference(
            key="zhou2014",
            short="Zhou et al., 2014",
            authors=(
                "Zhou, Dong",
                "Liu, Tian",
                "Spincemaille, Pascal",
                "Wang, Yi",
            ),
            title="Background field removal by solving the Laplacian boundary value problem",
            journal="NMR in Biomedicine",
            year=2014,
            volume="27",
            pages="312-319",
            doi="10.1002/nbm.3064",
        ),
    ),
)
