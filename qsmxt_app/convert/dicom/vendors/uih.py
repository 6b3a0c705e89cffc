"""United Imaging (UIH): volumes may be stored with their slices side by side, like Siemens' mosaics."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.values import number
from qsmxt_app.convert.dicom.vendors.vendor import Vendor

SLICES = 0x00651050


def _slices(header: Dataset, mosaic: bool) -> int | None:
    count = number(header, SLICES) if mosaic else None
    return None if count is None else int(count)


VENDOR = Vendor(
    name="UIH",
    manufacturers=("UIH",),
    elements=(SLICES,),
    slices_per_volume=_slices,
    field_map_sequence=re.compile(r"fm[23]d|gre_?field_?map", re.I),
)
