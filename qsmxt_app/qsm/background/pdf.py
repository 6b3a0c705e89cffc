"""Background removal by projection onto the fields of outer sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.background.border import border_of, within_doubtful_border
from qsmxt_app.qsm.background.harmonic import HarmonicFields
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, in_box

SMALLEST_WEIGHT = 1e-4


def pdf(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    weights: NDArray | None = None,
    tolerance: float = 5e-3,
    max_iterations: int = 60,
) -> BackgroundRemoval:
    """Weighted projection onto the fields that sources outside the mask can make.

    The published method fits the strengths of dipoles outside, an exponentially ill-conditioned problem whose
    iterations are stopped early. The space that they span is that of the harmonic fields inside the mask;
    here the same weighted least squares are solved in their values at the border, to convergence, in a few
    iterations. The weighted residual is orthogonal to the field of any source outside.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in any unit, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit; uniform where not given. The border moves inwards past
        voxels with less than a tenth of the median weight: the fit would need many iterations to find out
        what their values should have been.
    tolerance
        Relative residual at which the conjugate gradients stop; a tenth of the default changes the local
        field by less than 1 %.
    max_iterations
        Cap on the iterations.

    Returns
    -------
    BackgroundRemoval

    Raises
    ------
    ValueError
        If the input cannot be used.

    References
    ----------
    Liu T, Khalidov I, de Rochefort L, Spincemaille P, Liu J, Tsiouris AJ, Wang Y. NMR Biomed 24:1129-1136
    (2011). doi:10.1002/nbm.1670
    """
    check_field(total_field, mask, voxel_size, weights=weights)
    region = np.asarray(mask, bool)
    solved = within_doubtful_border(region, weights)
    grid = PaddedGrid(solved, voxel_size, margin=max(voxel_size))
    field, weight = in_box(grid, total_field, solved, weights)
    fields = HarmonicFields(grid.mask, voxel_size)
    # the boundary-value solution carries most of the background at full accuracy; the fit corrects it
    rest = field - fields.extend(field)

    # where little was measured the start may be far off
    scale = 1 / np.sqrt(weight + np.float32(SMALLEST_WEIGHT))

    def normal(scaled: FloatArray) -> FloatArray:
        image: FloatArray = scale * fields.adjoint(weight * fields.extend_approximately(scale * scaled))
        return image

    scaled, iterations, converged = conjugate_gradients(
        normal, scale * fields.adjoint(weight * rest), tolerance=tolerance, max_iterations=max_iterations
    )
    local = rest - fields.extend(scale * scaled)
    measured = solved & ~border_of(solved)
    return BackgroundRemoval(grid.extract(local), region, measured, iterations, converged)


METHOD = Method(
    pdf,
    phrase="projection onto dipole fields [@liu2011pdf], solved for the background's values at the border",
    needs=("voxel_size", "weights"),
    units={"tolerance": "", "max_iterations": ""},
    papers=(
        Reference(
            key="liu2011pdf",
            short="Liu et al., 2011",
            authors=(
                "Liu, Tian",
                "Khalidov, Ildar",
                "de Rochefort, Ludovic",
                "others",
            ),
            title="A novel background field removal method for MRI using projection onto dipole fields",
            journal="NMR in Biomedicine",
            year=2011,
            volume="24",
            pages="1129-1136",
            doi="10.1002/nbm.1670",
        ),
    ),
)
