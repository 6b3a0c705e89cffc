"""Standard error of susceptibility that the noise of the field causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsmxt_app.maps.declaration import Computed, MapStep, Need, Output, Scan, Shown, Switch, View

if TYPE_CHECKING:
    from qsmxt_app.arrays import BoolArray, FloatArray


def compute(scan: Scan, *, field_noise: FloatArray, mask: BoolArray) -> Computed:
    """Estimate the standard error of chi, ppm."""
    import numpy as np

    from qsmxt_app.qsm.chi_noise import chi_noise
    from qsmxt_app.qsm.constants import hz_per_ppm

    noise = chi_noise(
        field_noise / np.float32(hz_per_ppm(scan.field_strength)),
        mask,
        voxel_size=scan.voxel_size,
        b0_direction=scan.b0_direction,
        threads=scan.threads,
    )
    return Computed({"chi_noise": noise}, {"chi_noise_median_ppm": float(np.median(noise[mask]))})


MAP = MapStep(
    "chi_noise",
    compute,
    outputs={
        "chi_noise": Output(
            "Chimap",
            desc="noise",
            units="ppm",
            algorithm="standard error of the field through a Tikhonov-regularised inversion, an estimate",
            steps=("field",),
        )
    },
    need=Need(60, 0, 0.1),
    sentence=(
        "The standard error of susceptibility was estimated from that of the field, passed through a "
        "Tikhonov-regularised inversion [@kressler2010]."
    ),
    shown=Shown(
        (
            View(
                "chi_noise",
                "Standard error",
                (0.0001, 0.1),
                "ppm",
                "inferno",
                logarithmic=True,
                caption=(
                    "What the noise of the field causes, estimated; streaks and partial volume are not part "
                    "of it."
                ),
            ),
        )
    ),
    switch=Switch(True, "standard error of susceptibility due to noise in the field"),
)
