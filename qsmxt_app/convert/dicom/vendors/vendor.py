"""How one manufacturer deviates from the DICOM standard, in one object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.component import Component

LEVELS = 4096
_RESCALING_OF_LEVELS = (2.0, -4096.0)


@dataclass(frozen=True)
class StoredPhase:
    """How a phase image is stored.

    Attributes
    ----------
    manufacturer
        As in the header.
    bits, signed
        Bits stored, and whether they are signed.
    slope, intercept
        Rescaling that the converter put into the image's header.
    lowest, highest
        Extremes of the stored values.
    integers
        Whether they are integers.
    """

    manufacturer: str
    bits: int
    signed: bool
    slope: float
    intercept: float
    lowest: float
    highest: float
    integers: bool = True


@dataclass(frozen=True)
class PhaseScaling:
    """Phase = slope * stored + intercept.

    Attributes
    ----------
    units
        ``rad``, or ``arbitrary`` where neither vendor nor header says how many levels are 2 pi.
    rule
        In words, for the sidecar.
    """

    slope: float
    intercept: float
    units: str
    rule: str


def levels_of_phase(stored: StoredPhase) -> PhaseScaling | None:
    """Scale 4096 levels from -pi to pi, where the rescaling is the one that goes with them (2, -4096)."""
    if (stored.slope, stored.intercept) == _RESCALING_OF_LEVELS and in_levels(stored):
        return PhaseScaling(2 * np.pi / LEVELS, -np.pi, "rad", "Siemens' 4096 levels are 2 pi")
    return None


def in_levels(stored: StoredPhase) -> bool:
    """Whether the stored values are levels from 0 to 4095."""
    return stored.integers and stored.lowest >= 0 and stored.highest < LEVELS


@dataclass(frozen=True)
class Vendor:
    """A manufacturer; what is left at its default follows the standard.

    Attributes
    ----------
    name
        For messages.
    manufacturers
        How element (0008,0070) begins, in upper case.
    elements
        Private elements that the functions below read; others are not read from a file.
    sequence_names
        Private elements with the name of the sequence, beside the standard's.
    slices_per_volume
        From the header, and whether one image holds all slices side by side (mosaic): slices of a volume.
    image_type
        From a header, or the private description of a frame: words beside those of (0008,0008).
    component
        From a header, or the private description of a frame: what the numbers are, where a private element
        says so.
    coil
        From a header, or the private description of a frame: the coil or its element.
    frame
        Private sequence that describes one frame of an enhanced file; 0 for none.
    reconstructions
        Words of the image type that name a reconstruction of the same signal, by precedence.
    field_map_sequence
        Names of sequences whose phase is that of a field map.
    field_map_instances
        From the sequence's name and the rising instance numbers of a series: those that hold a map of the
        field in Hz, where no element says so.
    phase_scaling
        From stored values to radians, where the header's rescaling does not say how.
    phase_sign
        -1 where phase, and the angle of real and imaginary parts, falls where the field is higher.
    sign_rule
        Why, in words, for the sidecar.
    field_map_rescaling
        From the sidecar that dcm2niix wrote: slope and intercept that give Hz.
    """

    name: str
    manufacturers: tuple[str, ...]
    elements: tuple[int, ...] = ()
    sequence_names: tuple[int, ...] = ()
    slices_per_volume: Callable[[Dataset, bool], int | None] = lambda header, mosaic: None
    image_type: Callable[[Dataset], tuple[str, ...]] = lambda header: ()
    component: Callable[[Dataset], Component | None] = lambda header: None
    coil: Callable[[Dataset], str] = lambda header: ""
    frame: int = 0
    reconstructions: tuple[str, ...] = ()
    field_map_sequence: re.Pattern[str] | None = None
    field_map_instances: Callable[[str, Sequence[int]], frozenset[int]] = lambda name, numbers: frozenset()
    phase_scaling: Callable[[StoredPhase], PhaseScaling | None] = levels_of_phase
    phase_sign: int = 1
    sign_rule: str = ""
    field_map_rescaling: Callable[[Mapping[str, Any]], tuple[float, float] | None] = lambda sidecar: None
