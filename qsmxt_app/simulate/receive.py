"""What the receive chain adds to the signal: coils, readout polarity, noise, and faults of its phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.geometry import ScanGrid
from qsmxt_app.simulate.signal import Coil, polynomials
from qsmxt_app.simulate.volume import random_field

ReceivePhase = Literal["polynomial", "smooth", "conductive"]
"""Phase at TE = 0: a polynomial of second order; a random field that varies over 45 mm, as coils combined by
their phase leave it; or the constant curvature that a conducting head gives to its own radio field."""

_SMOOTH_MM, _SMOOTH_RAD = 45.0, 1.3
_CONDUCTIVE_RAD = 2.2
_HEAD_RADIUS_MM = 90.0


@dataclass(frozen=True)
class OddPhase:
    """What scanners, exports and conversions do to phase.

    Attributes
    ----------
    echo_constants : float
        Standard deviation in rad of a random constant that every echo after the first has.
    echo_scales : tuple of floats
        Factors on the wrapped phase of the first echo, the second, ...; 1 for those not named.
    high_pass_mm : float
        Standard deviation of the Gaussian whose low-passed complex image every echo is divided by, as for
        susceptibility-weighted images; 0 for none.

    Raises
    ------
    ValueError
        A size or a factor that is negative or not finite.
    """

    echo_constants: float = 0.0
    echo_scales: tuple[float, ...] = ()
    high_pass_mm: float = 0.0

    def __post_init__(self) -> None:
        values = (self.echo_constants, *self.echo_scales, self.high_pass_mm)
        if not all(0 <= value < np.inf for value in values):
            raise ValueError(f"constants, scales and filters of the phase must not be negative: {values}")


def receive_phase(kind: ReceivePhase, coil: Coil, grid: ScanGrid, rng: np.random.Generator) -> FloatArray:
    """Phase at TE = 0 in rad on a scan's grid."""
    shape = grid.shape
    if kind == "polynomial":
        return polynomials(shape, coil.phase)
    edges = np.linalg.norm(grid.affine[:3, :3], axis=0)
    if kind == "conductive":
        axes = [(np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, edges, strict=True)]
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        distance = (x**2 + y**2 + 0.5 * z**2) / _HEAD_RADIUS_MM**2
        return np.asarray(coil.phase[0] - _CONDUCTIVE_RAD * distance, dtype=np.float32)
    box = np.zeros(3), np.array(shape) * edges
    coarse = random_field(rng, box, 8.0, _SMOOTH_MM).data
    fine = zoom(coarse, np.array(shape) / coarse.shape, order=3, mode="mirror", grid_mode=True)
    return np.asarray(_SMOOTH_RAD * fine, dtype=np.float32)


def spoil_phase(
    magnitude: FloatArray, phase: FloatArray, odd: OddPhase, edges: NDArray[np.float64],
    rng: np.random.Generator,
) -> FloatArray:  # fmt: skip
    """Phase as an odd scanner or export would give it.

    Parameters
    ----------
    magnitude, phase : ndarray (x, y, z, echo)
        Any unit, and rad.
    odd : OddPhase
    edges : ndarray (3,)
        Voxel edges in mm.
    rng
        Of the constants.

    Returns
    -------
    ndarray (x, y, z, echo)
        rad; beyond [-pi, pi] where the scale is above 1.
    """
    echoes = phase.shape[-1]
    if odd.high_pass_mm:
        sigma = odd.high_pass_mm / edges
        for echo in range(echoes):
            signal = magnitude[..., echo] * np.exp(1j * phase[..., echo])
            low = gaussian_filter(signal.real, sigma) + 1j * gaussian_filter(signal.imag, sigma)
            phase[..., echo] = np.angle(signal * np.conj(low))
    constants = odd.echo_constants * np.append(0.0, rng.standard_normal(echoes - 1))
    if odd.echo_constants:
        phase = np.angle(np.exp(1j * (phase + constants))).astype(np.float32)
    scales = np.ones(echoes, np.float32)
    scales[: len(odd.echo_scales)] = odd.echo_scales[:echoes]
    return np.asarray(phase * scales, dtype=np.float32)
