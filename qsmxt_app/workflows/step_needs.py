"""What each step needs: memory, time, threads."""

from __future__ import annotations

from dataclasses import dataclass

from qsmxt_app.maps import MAPS
from qsmxt_app.maps.declaration import Need

BYTES_PER_GB = 1e9


# Interpreter, libraries and compiled kernels of one worker, before any image is loaded.
WORKER_GB = 0.3
# The process that hands out the work, and the server that makes workers.
MAIN_GB = 0.35
REPORT_GB = 0.6

START_SECONDS = 5.0
REPORT_SECONDS = 10.0

# One row a step, measured on 5.4 million voxels (1.4 million of them in the mask) with 5 echoes, and rounded
# up, so that declared memory is not below what is used. Cost is in seconds on two cores, from the processor
# time of a head of 1 mm (benchmarks/labels.py).
NEEDS = {
    "prepare": Need(20, 20, 0.5),
    "masks": Need(40, 16, 0.4),
    "field": Need(60, 44, 2.0),
    # of the most demanding method, with a mask that fills the image
    "background": Need(140, 0, 1.5),
    "tgv": Need(140, 0, 2.0),
    "inversion": Need(200, 0, 6.0),
    "combine": Need(50, 0, 0.2, threaded=False),
    # with spin echoes of as many voxels
    "r2": Need(140, 8, 1.5),
    "derivatives": Need(20, 10, 0.6, threaded=False),
    # of the T1w's voxels
    "prepare_t1w": Need(80, 0, 0.9, least_gb=1.3),
    "register_atlas": Need(150, 0, 0.7),
    "label_t1w": Need(150, 0, 0.9, least_gb=1.5),
    "write_t1w": Need(60, 0, 0.3),
    # of the voxels of both
    "align": Need(150, 10, 0.2),
    "label": Need(60, 0, 0.5, least_gb=0.5),
    "reference": Need(40, 0, 0.1, threaded=False),
    "regions": Need(50, 0, 0.2, threaded=False),
    # of the template's voxels too
    "spaces": Need(90, 0, 1.0, least_gb=0.8),
} | {step.name: step.need for step in MAPS.values()}
# of the inversion and of what averages its maps, where each echo is reconstructed by itself
BYTES_PER_ECHO_APART = 40
# magnitude and phase of a coil's echo, and the larger of both as it is read
BYTES_PER_VOLUME = 16


@dataclass(frozen=True)
class Estimate:
    """Memory (GB) at its peak, of a step or of a run, and the time of all steps (seconds on two cores)."""

    memory_gb: float
    seconds: float

    @property
    def text(self) -> str:
        """For people."""
        minutes = self.seconds / 60
        if minutes < 2:
            time = f"{max(10, 10 * round(self.seconds / 10))} s"
        else:
            time = f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
        return f"up to {self.memory_gb:.1f} GB of memory, about {time} on two cores"


def need_of(step: str) -> Need:
    """Return what a step needs: both passes of an inversion need the same."""
    return NEEDS[step.removesuffix("_reliable")]


def memory_gb(step: str, voxels: int, echoes: int) -> float:
    """Return the memory that a step is declared to need, in GB."""
    need = need_of(step)
    peak = voxels * (need.bytes_per_voxel + echoes * need.bytes_per_voxel_and_echo)
    return max(need.least_gb, WORKER_GB + peak / BYTES_PER_GB)


def expected_seconds(step: str, voxels: int) -> float:
    """Return how long a step takes on two cores."""
    return need_of(step).cost * voxels / 1e6
