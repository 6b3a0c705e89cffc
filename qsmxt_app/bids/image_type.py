"""What `ImageType` of a sidecar says of the processing of a phase image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILTERS = ("FILTERED", "HIGHPASS", "HIGH_PASS", "HIGH PASS", "HPF", "HOMODYNE", "UNSHARP")
"""Parts of words that name the filter itself."""
WEIGHTED = ("SWI", "SWIP", "SWAN", "SWI_PHASE", "SWPHASE")
"""Words of phase made for susceptibility-weighted images, which is filtered."""
RAW = "UNFILTERED"


def filter_warnings(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Say that phase was high-pass filtered, where `ImageType` or `ImageTypeText` says so.

    Parameters
    ----------
    metadata
        Sidecar of a phase image.

    Examples
    --------
    >>> filter_warnings({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]})
    ()
    """
    for key in ("ImageType", "ImageTypeText"):
        value = metadata.get(key)
        words = value if isinstance(value, list) else str(value or "").split("\\")
        for word in (str(word).strip() for word in words):
            name = word.upper().replace("-", "_")
            if name in WEIGHTED or (RAW not in name and any(part in name for part in FILTERS)):
                return (
                    f"{key} ({word}) says that the phase was high-pass filtered, as for "
                    "susceptibility-weighted images. The susceptibility of larger structures is lost and "
                    "cannot be restored: do not use values of the map. Export unfiltered phase.",
                )
    return ()
