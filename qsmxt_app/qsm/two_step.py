"""Background removal and dipole inversion of a field in Hz, each by any method of its registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.background.result import BackgroundRemoval
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.inversion.result import Inversion
from qsmxt_app.qsm.padded_grid import field_weights, regularising_noise


@dataclass(frozen=True, eq=False)
class FittedField:
    """A field, how well it is known, and in what it lies.

    Attributes
    ----------
    field, noise : ndarray (x, y, z)
        Total or local field and the standard error of the total one, Hz.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.
    field_strength
        T.
    """

    field: FloatArray
    noise: FloatArray
    voxel_size: Sequence[float]
    b0_direction: Sequence[float]
    field_strength: float

    @property
    def field_ppm(self) -> FloatArray:
        """The field in ppm."""
        return self.field / np.float32(hz_per_ppm(self.field_strength))

    @property
    def noise_ppm(self) -> FloatArray:
        """Its standard error in ppm."""
        return self.noise / np.float32(hz_per_ppm(self.field_strength))


def remove_background(method: str, total: FittedField, mask: BoolArray, threads: int) -> BackgroundRemoval:
    """Split off the field of sources outside a mask.

    Parameters
    ----------
    method
        A name of `BACKGROUND_METHODS`.
    total
        The total field.
    mask : ndarray (x, y, z), bool
        Where it is used.
    threads
        Cores; the result does not depend on it.

    Returns
    -------
    BackgroundRemoval
        With the local field in ppm.
    """
    removed: BackgroundRemoval = BACKGROUND_METHODS[method](
        total.field_ppm,
        mask,
        voxel_size=total.voxel_size,
        b0_direction=total.b0_direction,
        weights=field_weights(total.noise_ppm),
        threads=threads,
    )
    return removed


def invert_local_field(
    method: str,
    local: FittedField,
    mask: BoolArray,
    measured: BoolArray,
    echo_times: Sequence[float],
    threads: int,
) -> tuple[Inversion, float]:
    """Reconstruct chi from a local field.

    Parameters
    ----------
    method
        A name of `INVERSION_METHODS`.
    local
        The local field.
    mask, measured : ndarray (x, y, z), bool
        Where chi is reconstructed, and where the local field tells something.
    echo_times
        s, ascending.
    threads
        Cores; the result does not depend on it.

    Returns
    -------
    tuple
        Chi, ppm, and the noise that the regularisation follows, ppm.
    """
    noise = regularising_noise(local.noise_ppm, mask)
    inversion = INVERSION_METHODS[method](
        local.field_ppm,
        mask,
        voxel_size=local.voxel_size,
        b0_direction=local.b0_direction,
        weights=field_weights(local.noise_ppm) * measured,
        noise=noise,
        echo_time=float(min(np.diff(echo_times), default=echo_times[0])),
        field_strength=local.field_strength,
        threads=threads,
    )
    return inversion, noise
