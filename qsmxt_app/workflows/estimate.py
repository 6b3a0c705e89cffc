"""What a run is expected to need, before anything is started."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from qsmxt_app.workflows.plan import ScanPlan, distinct_steps
from qsmxt_app.workflows.step_needs import MAIN_GB, REPORT_GB, WORKER_GB

START_SECONDS = 10.0
REPORT_SECONDS = 10.0


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


def estimate_scan(scan: ScanPlan) -> Estimate:
    """Return what the steps of one scan need."""
    return Estimate(scan.memory_gb, sum(step.seconds for step in scan.steps))


def estimate_run(scans: Collection[ScanPlan]) -> Estimate:
    """Return what a run for several scans and a report needs, the steps of each after the other."""
    return Estimate(
        MAIN_GB + max([WORKER_GB + REPORT_GB, *(scan.memory_gb for scan in scans)]),
        START_SECONDS + REPORT_SECONDS + sum(step.seconds for step in distinct_steps(scans)),
    )
