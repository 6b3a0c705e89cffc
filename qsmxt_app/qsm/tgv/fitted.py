"""The Laplacian of the field that a complex fit over the echoes finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from ..constants import hz_per_ppm
from ..field import FieldFit, fit_total_field
from .echoes import EchoLaplacian, laplacian_of_phase
from .layout import BoolArray, FloatArray


def laplacian_of_fit(
    fit: FieldFit, *, field_strength: float, voxel_size: Sequence[float], mask: BoolArray
) -> EchoLaplacian:
    """Laplacian and noise of a fitted field, in ppm.

    The wrapped field is used, not the unwrapped one: wrapped differences cannot carry an error of the
    unwrapping over a whole region, and where a turn is lost only its edge is wrong.

    Parameters
    ----------
    fit : FieldFit
        Best fitted in a mask that is one voxel larger, so that field and noise of the neighbours are known.
    field_strength
        T.
    voxel_size
        mm.
    mask : ndarray (x, y, z), bool
        Where the Laplacian is wanted.
    """
    per_ppm = hz_per_ppm(field_strength)
    radians = fit.wrapped_field * np.float32(2 * np.pi / fit.period)
    laplacian = laplacian_of_phase(radians, voxel_size=voxel_size, mask=mask)
    laplacian *= np.float32(fit.period / (2 * np.pi * per_ppm))
    return EchoLaplacian(laplacian, fit.field_noise / np.float32(per_ppm))


def fit_laplacian(
    magnitude: FloatArray,
    phase: FloatArray,
    echo_times: Sequence[float],
    *,
    field_strength: float,
    voxel_size: Sequence[float],
    mask: BoolArray,
    bipolar: bool = False,
) -> EchoLaplacian:
    """Fit the field in the mask and its neighbours, and take its Laplacian: :func:`laplacian_of_fit`."""
    near = scipy.ndimage.binary_dilation(mask, scipy.ndimage.generate_binary_structure(3, 2))
    fit = fit_total_field(magnitude, phase, echo_times, mask=near, voxel_size=voxel_size, bipolar=bipolar)
    return laplacian_of_fit(fit, field_strength=field_strength, voxel_size=voxel_size, mask=mask)
