"""What the group level is expected to need, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.group.grid import MARGIN_MM, common_resolution
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.step_needs import (
    BYTES_PER_GB,
    MAIN_GB,
    REPORT_GB,
    REPORT_SECONDS,
    START_SECONDS,
    WORKER_GB,
    Estimate,
)
from qsmxt_app.workflows.study_level.study import NEEDS

HEADS_MM3 = 1.1e7
"""Of a box around the aligned heads of a dozen people, with the margin of a template."""
# Of the group level, on two cores: its page, and for a million voxels of the template what is done once a
# scan and in every deformable round. One core takes 18 s for a rigid or affine registration (by
# benchmarks/group_steps.py), and in a round 15 s for the deformation and 6 s for the update, which sees one
# person after the other.
GROUP_PAGE_SECONDS, GROUP_SECONDS_A_SCAN, GROUP_SECONDS_A_ROUND = 60.0, 30.0, 15.0


def estimate_group(acquisitions: Iterable[Acquisition], settings: Settings, cores: int) -> Estimate:
    """Return what the group level needs, from the sizes of its participants' scans alone.

    Parameters
    ----------
    acquisitions
        Of all participants.
    settings
        Of the group level.
    cores
        On which its steps run side by side.
    """
    scans = list(acquisitions)
    pages = START_SECONDS + GROUP_PAGE_SECONDS + REPORT_SECONDS * len(scans)
    if not settings.template or not scans:
        return Estimate(MAIN_GB + WORKER_GB + REPORT_GB, pages)
    voxel = settings.template_resolution or common_resolution([scan.voxel_size for scan in scans])
    # a template holds no more than the images do with its margin, nor than heads
    sides = np.max([np.multiply(scan.shape, scan.voxel_size) for scan in scans], axis=0) + 2 * MARGIN_MM
    grid = min(float(np.prod(sides)), HEADS_MM3) / voxel**3
    voxels = max([grid, *(prod(scan.shape) for scan in scans)])
    alone = max(NEEDS.values()) * voxels / BYTES_PER_GB
    beside = cores * (WORKER_GB + NEEDS["deform"] * voxels / BYTES_PER_GB)
    each = GROUP_SECONDS_A_SCAN + settings.template_rounds * GROUP_SECONDS_A_ROUND
    return Estimate(
        MAIN_GB + max(WORKER_GB + alone, beside, WORKER_GB + REPORT_GB),
        pages + len(scans) * each * voxels / 1e6,
    )
