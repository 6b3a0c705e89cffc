"""Names of the regions of a segmentation, as a reader says them."""

from __future__ import annotations

from pathlib import Path

from qsmxt_app.errors import UnusableData
from qsmxt_app.segment.regions import read_regions

SIDES = {"L": "left", "R": "right"}


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
