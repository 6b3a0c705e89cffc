"""Images of which slices are missing: those that are there go where they belong, others are empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.convert.dicom.converter import ConversionFailed
from qsmxt_app.convert.dicom.series import Stack
from qsmxt_app.convert.dicom.volumes import Volume

WIDE = 1.5
"""Slices further apart than so many times the usual distance have another missing between them."""
UNEVEN = 0.1
"""Share of the distance by which slices may lie beside an even grid."""


def has_gaps(stack: Stack) -> bool:
    """Whether slices are missing between others."""
    steps = np.diff(stack.offsets)
    return bool(steps.size and steps.max() > WIDE * np.median(steps))


def fill_gaps(volume: Volume, target: Path) -> Volume:
    """Write an image with an empty slice for each that is missing.

    Parameters
    ----------
    volume
        Converted slices that are there, one after another.
    target
        Where the whole image is written; the value of its empty slices is 0.

    Raises
    ------
    ConversionFailed
        If the slices do not lie on an even grid.
    """
    places, step = _places(volume.stack)
    stored = volume.stored()
    affine = volume.affine.copy()
    direction = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    row, column = np.reshape(volume.stack.kind.orientation, (2, 3))
    normal = np.cross(row, column) * [-1, -1, 1]  # DICOM's axes point left and back, NIfTI's right and front
    if direction @ normal < 0:
        places = places[-1] - places[::-1]
    affine[:3, 2] = direction * step
    slope, intercept = volume.rescaling
    zero = (slope, intercept)
    if volume.stack.component in {"phase", "phasediff"}:
        zero = volume.phase_scaling.slope, volume.phase_scaling.intercept
    empty = np.rint(-zero[1] / zero[0]) if stored.dtype.kind in "iu" else 0
    whole = np.full((*stored.shape[:2], int(places[-1]) + 1), empty, dtype=stored.dtype)
    whole[:, :, places] = stored
    header = volume.header.copy()
    header.set_data_shape(whole.shape)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header.set_slope_inter(slope, intercept)
    with target.open("xb") as stream:
        header.set_data_offset(header.single_vox_offset)
        header.write_to(stream)
        stream.write(b"\0" * (header.single_vox_offset - stream.tell()))
        stream.write(np.asfortranarray(whole).tobytes(order="F"))
    missing = sorted(set(range(whole.shape[2])) - set(places.tolist()))
    return Volume(volume.stack, target, None, volume.sidecar | {"MissingSlices": missing})


def _places(stack: Stack) -> tuple[NDArray[np.int64], float]:
    """Index of each slice on an even grid along the normal, and the distance of neighbours in mm."""
    offsets = np.asarray(stack.offsets) - stack.offsets[0]
    step = float(np.median(np.diff(offsets)))
    places = np.rint(offsets / step).astype(np.int64)
    if np.abs(offsets - places * step).max() > UNEVEN * step:
        raise ConversionFailed(
            f"{stack.files[0]}: its slices are not evenly spaced, so none can be filled in"
        )
    return places, step
