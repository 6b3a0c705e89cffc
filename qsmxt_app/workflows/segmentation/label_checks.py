"""Whether the labels that were asked for can be had, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qsmxt_app.segment.atlas_loading import atlas_regions, check_atlas
from qsmxt_app.segment.existing_labels import regions_of
from qsmxt_app.segment.network_files import network_regions
from qsmxt_app.segment.reference_region import find_reference
from qsmxt_app.segment.regions import Region
from qsmxt_app.workflows.plan import ScanPlan
from qsmxt_app.workflows.segmentation.plan import ATLAS, MESHNET


def check_labels(scans: Iterable[ScanPlan]) -> None:
    """Refuse an atlas that is not there, and a region that is in no table, before anything runs.

    Raises
    ------
    NoInput
        The atlas is not there.
    WrongUsage
        The region that chi is to be relative to is not in the table.
    """
    checked = set[tuple[str, Path | None]]()
    for scan in scans:
        plan = scan.segmentation
        table = plan.labels.table if plan.labels else None
        if not plan.runs or (plan.source, table) in checked:
            continue
        checked.add((plan.source, table))
        if plan.method == ATLAS:
            check_atlas(scan.settings.atlas)
        if plan.reference:
            find_reference(plan.reference, _regions_in_table(scan))


def _regions_in_table(scan: ScanPlan) -> tuple[Region, ...]:
    plan = scan.segmentation
    if plan.method == ATLAS:
        return atlas_regions(scan.settings.atlas)
    if plan.method == MESHNET:
        return network_regions(scan.settings.model or Path())
    if plan.labels is None:
        raise ValueError("a plan for existing labels without labels")
    return regions_of(plan.labels)
