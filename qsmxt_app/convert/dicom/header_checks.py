"""Header values that no scan has: they would give an image a wrong size, place, echo time or field."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qsmxt_app.bids.headers import VOXEL_MM
from qsmxt_app.bids.timing import FIELD_RANGE, LONGEST_ECHO_TIME, SHORTEST_LAST_ECHO_TIME
from qsmxt_app.convert.dicom.completeness import GAP
from qsmxt_app.convert.dicom.gaps import UNEVEN
from qsmxt_app.convert.dicom.series import Series, Stack

SHORTEST_REPETITION_TIME = 5e-4
"""s: what is shorter was written in s where the standard has ms."""


def header_problem(series: Series, *, gradient_echo: bool) -> str:
    """Name what would make images of no use: a geometry at random, times or a field in another unit.

    Parameters
    ----------
    series
        Any that would be converted.
    gradient_echo
        Whether echo times and the field strength matter.

    Returns
    -------
    str
        Empty where nothing is wrong.
    """
    with np.errstate(all="ignore"):  # of numbers that no header should have
        found = next((reason for stack in series.stacks for reason in _geometry(series, stack)), "")
    return found or (_timing(series) if gradient_echo else "")


def _timing(series: Series) -> str:
    times = series.echo_times
    shown = ", ".join(f"{1000 * time:g}" for time in times)
    if times and times[-1] > LONGEST_ECHO_TIME:
        return f"echo times of {shown} ms are longer than any gradient echo's (EchoTime; microseconds?)"
    if times and times[-1] < SHORTEST_LAST_ECHO_TIME:
        return f"echo times of {shown} ms are shorter than any gradient echo's (EchoTime; seconds?)"
    field = series.scan.field_strength
    if field is not None and not FIELD_RANGE[0] <= field <= FIELD_RANGE[1]:
        return f"a field strength of {field:g} T is implausible (MagneticFieldStrength; gauss or millitesla?)"
    return ""


def header_doubts(series: Series) -> Iterator[str]:
    """Say what a header lacks or has wrong that can be added later or is not needed."""
    if series.scan.field_strength is None:
        yield "no field strength in the header: add MagneticFieldStrength to the sidecars"
    time = series.scan.repetition_time
    if time is not None and time < SHORTEST_REPETITION_TIME:
        yield f"RepetitionTime of {1000 * time:g} ms is implausible (seconds?), and not copied"


def _geometry(series: Series, stack: Stack) -> Iterator[str]:
    kind = stack.kind
    size = kind.pixel_spacing
    if not (len(size) == 2 and min(size) > 0):
        yield "no voxel size in the header (PixelSpacing): export it again"
    elif not VOXEL_MM[0] <= min(size) <= max(size) <= VOXEL_MM[1]:
        yield f"a voxel size of {size[0]:g} x {size[1]:g} mm is implausible (PixelSpacing): export it again"
    if len(kind.orientation) != 6:
        yield "no orientation in the header (ImageOrientationPatient): export it again"
    else:
        axes = np.reshape(kind.orientation, (2, 3))
        if not np.allclose(axes @ axes.T, np.eye(2), atol=0.01):
            yield "ImageOrientationPatient in the header is no pair of unit vectors at right angles"
    if len(stack.corner) != 3:
        yield "no position of the slices in the header (ImagePositionPatient): export it again"
    if stack.n_slices == 1 and sum(other.kind == kind for other in series.stacks) > 1:
        yield "all slices are at one place by the header (ImagePositionPatient): export it again"
    steps = np.diff(stack.offsets)
    if steps.size and steps.max() <= GAP * np.median(steps) and np.ptp(steps) > UNEVEN * np.median(steps):
        yield f"slices are {steps.min():.2f} to {steps.max():.2f} mm apart, and must be evenly spaced"
