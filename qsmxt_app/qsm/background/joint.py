"""Background removal by fitting an inner susceptibility and an outer harmonic field at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.bibliography import Reference
from qsmxt_app.qsm.background.border import border_of, within_doubtful_border
from qsmxt_app.qsm.background.harmonic import HarmonicFields
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.conjugate_gradients import conjugate_gradients
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.padded_grid import PaddedGrid, check_field, check_positive, in_box

MARGIN_MM = 8.0
SMALLEST_WEIGHT = 1e-6


class JointModel:
    """Total field as the field of a susceptibility inside the mask plus a harmonic field.

    Minimises ``1/2 sum w ((f - D chi - h) / noise)^2 + 1/2 sum (chi / spread)^2`` over chi in the mask and h
    harmonic in it, h being described by its values at the border. The periodic copies of the inner sources
    are outer sources, and so are absorbed by h: the box needs little padding. The total field at the border
    is the start of h, with a wide Gaussian prior, so that values where little was measured are determined
    too.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in ppm.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    weights
        Inverse variance of the field in any unit, or None for uniform.
    noise
        Root mean square error of the field in ppm, at the mean weight.
    spread
        Standard deviation of chi in ppm; it conditions the problem, and a third of it is the spread of the
        local field at the border.
    threads
        Threads of the FFT.
    """

    def __init__(
        self,
        total_field: NDArray,
        mask: BoolArray,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float],
        weights: NDArray | None,
        noise: float,
        spread: float,
        threads: int | None,
    ) -> None:
        self.grid = PaddedGrid(mask, voxel_size, margin=MARGIN_MM, threads=threads)
        self.harmonic = HarmonicFields(self.grid.mask, voxel_size)
        self._kernel = self.grid.dipole_kernel(b0_direction)
        self._precision = np.float32(1 / spread**2)
        field, weight = in_box(self.grid, total_field, mask, weights)
        self._weight = weight / np.float32(noise**2)
        self._rest = field - self.harmonic.extend(field)
        # the start took the local field and the noise at the border for background
        error = np.sqrt((spread / 3) ** 2 + noise**2 / np.maximum(weight, SMALLEST_WEIGHT))
        self._scale = np.stack([np.full(self.grid.shape, spread, np.float32), error.astype(np.float32)])

    def field_of(self, chi: FloatArray) -> FloatArray:
        """Field of a susceptibility in the box, everywhere."""
        return self.grid.convolve(chi, self._kernel)

    def fit(
        self,
        *,
        tolerance: float,
        max_iterations: int,
    ) -> tuple[FloatArray, int, bool]:
        """Solve the normal equations.

        Parameters
        ----------
        tolerance
            Relative residual at which to stop.
        max_iterations
            Cap on the iterations.

        Returns
        -------
        unknowns : ndarray (2, x, y, z)
            chi in ppm in the mask, and the harmonic field (less the boundary-value solution) at the border.
        iterations : int
        converged : bool
        """
        inside = self.grid.mask

        def adjoint(residual: FloatArray) -> FloatArray:
            return np.stack([self.field_of(residual) * inside, self.harmonic.adjoint(residual)])

        def normal(scaled: FloatArray) -> FloatArray:
            chi, border = scaled * self._scale
            residual = self.field_of(chi) + self.harmonic.extend_approximately(border)
            residual *= self._weight
            image = adjoint(residual)
            image[0] += self._precision * chi * inside
            image *= self._scale
            image[1] += scaled[1]
            return image

        rhs = adjoint(self._weight * self._rest) * self._scale
        scaled, iterations, converged = conjugate_gradients(
            normal,
            rhs,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )
        return scaled * self._scale, iterations, converged

    def local_field(self, unknowns: FloatArray) -> FloatArray:
        """Total field less the harmonic one, in the original shape."""
        return self.grid.extract(self._rest - self.harmonic.extend(unknowns[1]))


def joint(
    total_field: NDArray,
    mask: NDArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    weights: NDArray | None = None,
    noise: float = 1e-3,
    spread: float = 0.05,
    tolerance: float = 1e-2,
    max_iterations: int = 40,
    threads: int | None = None,
) -> BackgroundRemoval:
    """Background removal with a model of the local field.

    Projection onto outer sources treats the local field as white noise, and the boundary value method sets it
    to 0 at the border; both leave a large part of it in the background. Here the local field is that of a
    random susceptibility inside the mask, fitted together with the harmonic field of everything outside (a
    total field inversion with a quadratic prior, of which only the split of the field is kept). No voxel is
    lost.

    Parameters
    ----------
    total_field : ndarray (x, y, z)
        Field in ppm, read inside the mask.
    mask : ndarray of bool (x, y, z)
        Region of interest.
    voxel_size
        Voxel edges in mm.
    b0_direction
        Unit vector of B0 in voxel axes.
    weights : ndarray (x, y, z), optional
        Inverse variance of the field, in any unit; uniform where not given. The border moves inwards past
        voxels with less than a tenth of the median weight.
    noise
        Error of the field in ppm at the mean weight; what the model cannot describe is part of it.
    spread
        Standard deviation of chi between neighbouring voxels of tissue, in ppm.
    tolerance
        Relative residual at which the conjugate gradients stop.
    max_iterations
        Cap on the iterations.
    threads
        Threads of the FFT.

    Returns
    -------
    BackgroundRemoval

    Raises
    ------
    ValueError
        If the input cannot be used, or `noise` or `spread` is not positive.

    References
    ----------
    Liu Z, Kee Y, Zhou D, Wang Y, Spincemaille P. Preconditioned total field inversion. Magn Reson Med
    78:303-315 (2017). doi:10.1002/mrm.26331. The outer field is harmonic and free here, instead of that of
    penalised dipoles.
    """
    check_field(total_field, mask, voxel_size, b0_direction, weights)
    check_positive(noise=noise, spread=spread)
    region = np.asarray(mask, bool)
    solved = within_doubtful_border(region, weights)
    model = JointModel(
        total_field,
        solved,
        voxel_size=voxel_size,
        b0_direction=b0_direction,
        weights=weights,
        noise=noise,
        spread=spread,
        threads=threads,
    )
    unknowns, iterations, converged = model.fit(tolerance=tolerance, max_iterations=max_iterations)
    measured = solved & ~border_of(solved)
    return BackgroundRemoval(model.local_field(unknowns), region, measured, iterations, converged)


METHOD = Method(
    joint,
    phrase="a joint fit of the susceptibility inside and a harmonic field from outside [@liu2017]",
    needs=("voxel_size", "b0_direction", "weights", "threads"),
    units={"noise": "ppm", "spread": "ppm", "tolerance": "", "max_iterations": ""},
    papers=(
        Reference(
            key="liu2017",
            short="Liu et al., 2017",
            authors=(
                "Liu, Zhe",
                "Kee, Youngwook",
                "Zhou, Dong",
                "Wang, Yi",
                "Spincemaille, Pascal",
            ),
            title="Preconditioned total field inversion (TFI) method for quantitative susceptibility mapping",
            journal="Magnetic Resonance in Medicine",
            year=2017,
            volume="78",
            pages="303-315",
            doi="10.1002/mrm.26331",
        ),
    ),
)
