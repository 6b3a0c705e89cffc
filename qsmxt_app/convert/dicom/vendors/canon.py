"""Canon, once Toshiba: the component stands as a whole word in the image type, as the standard has it."""

from __future__ import annotations

from qsmxt_app.convert.dicom.vendors.vendor import Vendor

VENDOR = Vendor(name="Canon", manufacturers=("CANON", "TOSHIBA"))
