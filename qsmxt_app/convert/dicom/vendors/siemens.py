"""Siemens: VB to VE (classic, mosaic) and XA (enhanced).

Phase has 4096 levels from -pi to pi, stored from 0 to 4095, whether the header has its rescaling (2, -4096)
or not. XA writes the words that tell the component into (0021,1175), and the coil's element into (0021,114F).
"""

from __future__ import annotations

import re

import numpy as np
from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.values import integer, text, words
from qsmxt_app.convert.dicom.vendors.vendor import LEVELS, PhaseScaling, StoredPhase, Vendor, in_levels

MOSAIC_SLICES = 0x0019100A
IMAGE_TYPE, COIL_OF_XA, COIL = 0x00211175, 0x0021114F, 0x0051100F
FRAME = 0x002111FE


def _slices(header: Dataset, mosaic: bool) -> int | None:
    return integer(header, MOSAIC_SLICES) if mosaic else None


def _phase_scaling(stored: StoredPhase) -> PhaseScaling | None:
    if not in_levels(stored):
        return None
    return PhaseScaling(2 * np.pi / LEVELS, -np.pi, "rad", "Siemens' 4096 levels are 2 pi")


VENDOR = Vendor(
    name="Siemens",
    manufacturers=("SIEMENS",),
    elements=(MOSAIC_SLICES, IMAGE_TYPE, COIL_OF_XA, COIL),
    slices_per_volume=_slices,
    image_type=lambda header: words(header, IMAGE_TYPE),
    coil=lambda header: text(header, COIL) or text(header, COIL_OF_XA),
    frame=FRAME,
    reconstructions=("NORM", "ND"),
    field_map_sequence=re.compile(r"\*?fm[23]d\d*r?|gre_?field_?map", re.I),
    phase_scaling=_phase_scaling,
)
