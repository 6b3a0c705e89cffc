"""What scans are expected to need, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.group.grid import MARGIN_MM, common_resolution
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.outcome import SOMETHING_FAILED
from qsmxt_app.workflows.preset_choice import settings_for
from qsmxt_app.workflows.scan_steps import need_of, step_names
from qsmxt_app.workflows.segmentation.plan import plan_segmentation
from qsmxt_app.workflows.segmentation.steps import step_sizes
from qsmxt_app.workflows.step_needs import BYTES_PER_GB, MAIN_GB, REPORT_GB, WORKER_GB, memory_gb, step_cost
from qsmxt_app.workflows.study_level.study import NEEDS as GROUP_NEEDS

HEADS_MM3 = 1.1e7
"""Of a box around the heads of a dozen people, upon each other, with the margin of a template."""
START_SECONDS = 10.0
REPORT_SECONDS = 10.0
# Of the group level, on two cores: its page, and for a million voxels of the template what is done once a
# scan and in every deformable round. One core takes 18 s for a rigid or affine registration (by
# benchmarks/group_steps.py), and in a round 15 s for the deformation and 6 s for the update, which sees one
# person after the other.
GROUP_PAGE_SECONDS, GROUP_SECONDS_A_SCAN, GROUP_SECONDS_A_ROUND = 60.0, 30.0, 15.0


@dataclass(frozen=True)
class Estimate:
    """Memory (GB) at its peak, of a step or of a run, and the time of all steps (seconds on two cores)."""

    memory_gb: float
    seconds: float

    @property
    def text(self) -> str:
        """For people."""
        minutes = self.seconds / 60
        time = f"{max(1, minutes):.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
        return f"up to {self.memory_gb:.1f} GB of memory, about {time} on two cores"


def estimate_scan(acquisition: Acquisition, settings: Settings) -> Estimate:
    """Return what the steps of one scan need by `resources.NEEDS`."""
    own, _ = settings_for(acquisition, settings)
    maps = _maps(acquisition, own)
    regions = step_sizes(plan_segmentation(acquisition, own), acquisition)
    return Estimate(
        max([maps.memory_gb, *(memory_gb(step, voxels, 1) for step, voxels in regions)]),
        maps.seconds + sum(step_cost(step, voxels) for step, voxels in regions),
    )


def _maps(acquisition: Acquisition, settings: Settings) -> Estimate:
    """Return what the maps alone need: without them nothing is worth a start, without regions they are."""
    x, y, z = acquisition.shape
    steps = [need_of(step) for step in step_names(acquisition, settings)]
    return Estimate(
        max(memory_gb(step, x * y * z, len(acquisition.echoes)) for step in steps),
        sum(step_cost(step, x * y * z) for step in steps),
    )


def estimate_all(acquisitions: Iterable[Acquisition], settings: Settings) -> Estimate:
    """Return what a run for several scans and a report needs, the steps of each after the other."""
    scans = [estimate_scan(acquisition, settings) for acquisition in acquisitions]
    return Estimate(
        MAIN_GB + max([WORKER_GB + REPORT_GB, *(scan.memory_gb for scan in scans)]),
        START_SECONDS + REPORT_SECONDS + sum(scan.seconds for scan in scans),
    )


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
    alone = max(GROUP_NEEDS.values()) * voxels / BYTES_PER_GB
    beside = cores * (WORKER_GB + GROUP_NEEDS["deform"] * voxels / BYTES_PER_GB)
    each = GROUP_SECONDS_A_SCAN + settings.template_rounds * GROUP_SECONDS_A_ROUND
    return Estimate(
        MAIN_GB + max(WORKER_GB + alone, beside, WORKER_GB + REPORT_GB),
        pages + len(scans) * each * voxels / 1e6,
    )


def too_large(acquisition: Acquisition, settings: Settings, most_gb: float) -> Problem | None:
    """Return why a scan is not started where it needs more memory than there may be; None where it fits."""
    needed = _maps(acquisition, settings_for(acquisition, settings)[0]).memory_gb + MAIN_GB
    if needed <= most_gb:
        return None
    return Problem(
        acquisition.subject,
        acquisition.session,
        acquisition.files[0],
        f"{acquisition.label}: not started, it needs {needed:.1f} GB of memory and may use {most_gb:.1f}.",
        "Give it more: --mem-gb, or the limit of the container or the job.",
        SOMETHING_FAILED,
    )
