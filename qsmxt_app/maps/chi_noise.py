"""Standard error of susceptibility that the noise of the field causes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qsmxt_app.bibliography import Reference
from qsmxt_app.maps.declaration import Computed, MapStep, Need, Output, Scan, Shown, Switch, View

if TYPE_CHECKING:
    from qsmxt_app.arrays import BoolArray, FloatArray

BY_RESPONSE = {"qsm_method": "tgv", "echo_combination": "field"}
"""Settings under which the response of the inversion to noise is measured, instead of estimated."""


def compute(
    scan: Scan,
    *,
    laplacian: FloatArray,
    laplacian_noise: FloatArray,
    field_noise: FloatArray,
    random_noise: FloatArray,
    tissue_mask: BoolArray,
    mask: BoolArray,
) -> Computed:
    """Estimate the standard error of chi, ppm."""
    import numpy as np

    from qsmxt_app.qsm.chi_noise import chi_noise
    from qsmxt_app.qsm.constants import hz_per_ppm
    from qsmxt_app.qsm.noise_response import tgv_noise
    from qsmxt_app.qsm.tgv import TGVOptions

    per_ppm = np.float32(hz_per_ppm(scan.field_strength))
    if _by_response(scan.settings):
        noise = tgv_noise(
            laplacian,
            mask,
            noise=laplacian_noise,
            random_noise=random_noise / per_ppm,
            tissue=tissue_mask,
            voxel_size=scan.voxel_size,
            b0_direction=scan.b0_direction,
            options=TGVOptions(alpha=tuple(scan.settings["tgv_alpha"])),
            threads=scan.threads,
        )
    else:
        noise = chi_noise(
            field_noise / per_ppm,
            mask,
            voxel_size=scan.voxel_size,
            b0_direction=scan.b0_direction,
            threads=scan.threads,
        )
    return Computed({"chi_noise": noise}, {"chi_noise_median_ppm": float(np.median(noise[mask]))})


def _by_response(settings: Mapping[str, Any]) -> bool:
    return BY_RESPONSE.items() <= dict(settings).items()


def _algorithm(settings: Mapping[str, Any]) -> str:
    if _by_response(settings):
        return "difference of two inversions, of the data with random noise added and subtracted"
    return "standard error of the field through a Tikhonov-regularised inversion, an estimate"


def _sentence(settings: Mapping[str, Any]) -> str:
    if _by_response(settings):
        return (
            "The standard error of susceptibility due to noise was measured by two more inversions, of the "
            "data with random noise of the measured size added and subtracted [@efron1986]."
        )
    return (
        "The standard error of susceptibility was estimated from that of the field, passed through a "
        "Tikhonov-regularised inversion [@kressler2010]."
    )


MAP = MapStep(
    "chi_noise",
    compute,
    outputs={
        "chi_noise": Output("Chimap", desc="noise", units="ppm", algorithm=_algorithm, steps=("field",))
    },
    need=Need(180, 0, 2.0),
    sentence=_sentence,
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
                    "What noise would change in a repeated scan; streaks and partial volume are not part of "
                    "it."
                ),
            ),
        )
    ),
    switch=Switch(True, "standard error of susceptibility due to noise in the field"),
    settings=("qsm_method", "echo_combination", "tgv_alpha"),
    papers=(
        Reference(
            key="efron1986",
            short="Efron and Tibshirani, 1986",
            authors=("Efron, Bradley", "Tibshirani, Robert"),
            title=(
                "Bootstrap methods for standard errors, confidence intervals, and other measures of "
                "statistical accuracy"
            ),
            journal="Statistical Science",
            year=1986,
            volume="1",
            pages="54-75",
            doi="10.1214/ss/1177013815",
        ),
    ),
)
