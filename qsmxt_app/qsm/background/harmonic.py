"""Harmonic fields inside a mask, described by their values at its border."""

from __future__ import annotations

from collections.abc import Sequence

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.background.border import border_of
from qsmxt_app.qsm.background.laplace import DirichletLaplacian


class HarmonicFields:
    """All fields that sources outside a mask can make inside it.

    Such a field satisfies Laplace's equation in the mask and is fixed by its values at the border. Least
    squares in these values are well conditioned (the energy of a mode falls with the inverse of its surface
    frequency), where the strengths of the outer sources are exponentially ill-conditioned.

    Parameters
    ----------
    mask : ndarray of bool (x, y, z)
        Region of interest. The outermost plane on each side of the array must be empty.
    voxel_size
        Voxel edges in mm.
    cycles
        Multigrid cycles of the fast, approximate extension.

    Attributes
    ----------
    border, interior : ndarray of bool (x, y, z)
        The two parts of the mask.
    """

    def __init__(self, mask: BoolArray, voxel_size: Sequence[float], cycles: int = 2) -> None:
        self.border = border_of(mask)
        self.interior = mask & ~self.border
        self._laplacian = DirichletLaplacian(self.interior, voxel_size)
        self._cycles = cycles

    def extend(self, border_values: FloatArray, tolerance: float = 1e-6) -> FloatArray:
        """Harmonic field with the given values at the border, 0 outside the mask."""
        values = border_values * self.border
        return values + self._laplacian.solve(-self._laplacian.apply(values), tolerance=tolerance)

    def extend_approximately(self, border_values: FloatArray) -> FloatArray:
        """A fixed linear operator close to :meth:`extend`, at a fraction of its cost."""
        values = border_values * self.border
        rhs = -self._laplacian.apply(values)
        return values + self._laplacian.approximate_inverse(rhs, self._cycles)

    def adjoint(self, field: FloatArray) -> FloatArray:
        """Adjoint of :meth:`extend_approximately`: field in the mask to values at the border."""
        solved = self._laplacian.approximate_inverse(field * self.interior, self._cycles)
        return (field - self._laplacian.apply(solved, at=self.border)) * self.border
