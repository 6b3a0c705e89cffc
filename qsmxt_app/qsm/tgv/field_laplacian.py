"""The Laplacian of the field that a complex fit over the echoes finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.echo_combination import Combination
from qsmxt_app.qsm.field import FieldFit, fit_total_field
from qsmxt_app.qsm.offsets import without_offset
from qsmxt_app.qsm.tgv.phase_laplacian import EchoLaplacian, combine_echoes, laplacian_of_phase


def laplacian_of_field(
    fit: FieldFit, *, field_strength: float, voxel_size: Sequence[float], mask: BoolArray
) -> EchoLaplacian:
    """Laplacian and noise of a fitted field, in ppm.

    The wrapped field is used, not the unwrapped one: wrapped differences cannot carry an error of the
    unwrapping over a whole region, and where a cycle is lost only its edge is wrong.

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


def measured_laplacian(
    magnitude: FloatArray | None,
    phase: FloatArray,
    echo_times: Sequence[float] | NDArray,
    *,
    field_strength: float,
    voxel_size: Sequence[float],
    mask: BoolArray,
    bipolar: bool = False,
    fit: FieldFit | None = None,
    combination: Combination = "field",
) -> EchoLaplacian:
    """Laplacian and noise of the field, by the method that suits the data.

    With several echoes and their magnitude that of the fitted field (:func:`laplacian_of_field`) or as
    `combination` says, else that of the echoes themselves (:func:`combine_echoes`).

    Parameters
    ----------
    magnitude : ndarray (x, y, z, echo), optional
        Without it all voxels and echoes weigh the same.
    phase : ndarray (x, y, z, echo)
        rad.
    echo_times
        s, ascending.
    field_strength
        T.
    voxel_size
        mm.
    mask : ndarray (x, y, z), bool
        Where the Laplacian is wanted.
    bipolar
        Whether echoes alternate between readout polarities.
    fit
        Of these echoes, where there is one already; else the field is fitted in the mask and its neighbours.
    combination
        ``"field"``: Laplacian of the fitted field. ``"laplacian"``: the echoes' Laplacians, over their echo
        times, averaged by their noise. ``"maps"``: one Laplacian for each echo, (x, y, z, echo). The last two
        are of phase without the fit's offset and readout difference; where that fit is uncertain for other
        reasons than thermal noise, so are they.
    """
    times = np.atleast_1d(np.asarray(echo_times, dtype=np.float64))
    if magnitude is None or times.size == 1:
        return combine_echoes(
            np.ones_like(phase) if magnitude is None else magnitude,
            phase,
            times,
            field_strength=field_strength,
            voxel_size=voxel_size,
            mask=mask,
        )
    if fit is None:
        near = scipy.ndimage.binary_dilation(mask, scipy.ndimage.generate_binary_structure(3, 2))
        fit = fit_total_field(magnitude, phase, times, mask=near, voxel_size=voxel_size, bipolar=bipolar)
    fitted = laplacian_of_field(fit, field_strength=field_strength, voxel_size=voxel_size, mask=mask)
    if combination == "field":
        return fitted
    measured = combine_echoes(
        magnitude,
        without_offset(phase, fit.offset, fit.readout_difference),
        times,
        field_strength=field_strength,
        voxel_size=voxel_size,
        mask=mask,
        separate=combination == "maps",
    )
    known = fitted.noise[..., None] if combination == "maps" else fitted.noise
    return EchoLaplacian(measured.laplacian, np.maximum(measured.noise, known))
