"""Names of the regions of a segmentation as a reader says them, and in which order a page shows them."""

from __future__ import annotations

from pathlib import Path

from qsmxt_app.errors import UnusableData
from qsmxt_app.segment.expected_values import is_nucleus, plain_name
from qsmxt_app.segment.regions import read_regions

SIDES = {"L": "left", "R": "right"}
DEEP_GREY, OTHER, CORTEX = "Deep grey matter", "White matter, ventricles and other regions", "Cortex"
KINDS = (DEEP_GREY, OTHER, CORTEX)
"""In the order of a page: what susceptibility is measured for comes first."""
_FURTHER_NUCLEI = ("accumbens", "accumbens-area", "subthalamic-nucleus")
_CORTEX_NUMBERS = (range(1000, 3000), range(11000, 13000))
"""Of FreeSurfer's parcellations of the cortex, whose numbers the built-in atlas keeps."""


def region_kind(name: str, index: str) -> str:
    """Return to which of `KINDS` a region belongs.

    Examples
    --------
    >>> [region_kind(*region) for region in (("putamen", "12"), ("insula", "1035"), ("brainstem", "16"))]
    ['Deep grey matter', 'Cortex', 'White matter, ventricles and other regions']
    """
    plain = plain_name(name)
    if plain in _FURTHER_NUCLEI or is_nucleus(name):
        return DEEP_GREY
    number = int(index) if index.isdecimal() else 0
    in_cortex = any(number in numbers for numbers in _CORTEX_NUMBERS)
    return CORTEX if in_cortex or "cortex" in plain or plain.startswith("ctx") else OTHER


def region_names(segmentation: Path | None) -> dict[int, str]:
    """Return which label stands for which region; without a readable table, nothing.

    Parameters
    ----------
    segmentation
        Label image `*_dseg.nii.gz`; its table `*_dseg.tsv` lies beside it.
    """
    if segmentation is None:
        return {}
    stem = segmentation.name.removesuffix(".gz").removesuffix(".nii")
    try:
        regions = read_regions(segmentation.with_name(f"{stem}.tsv"))
    except UnusableData:
        return {}
    return {
        region.index: " ".join(filter(None, (SIDES.get(region.hemisphere), region.name)))
        for region in regions
    }
