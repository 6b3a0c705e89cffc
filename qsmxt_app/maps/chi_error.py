"""Expected error of susceptibility: noise, and what regularisation and the model of the field leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsmxt_app.maps.chi_noise import BY_RESPONSE
from qsmxt_app.maps.declaration import Computed, MapStep, Need, Output, Scan, Shown, Switch, View

if TYPE_CHECKING:
    from qsmxt_app.arrays import BoolArray, FloatArray


def compute(scan: Scan, *, chi_noise: FloatArray, mask: BoolArray) -> Computed:
    """Estimate the root mean square error of chi, ppm."""
    import numpy as np

    from qsmxt_app.qsm.expected_error import expected_error

    error = expected_error(chi_noise, mask)
    return Computed({"chi_error": error}, {"chi_error_median_ppm": float(np.median(error[mask]))})


MAP = MapStep(
    "chi_error",
    compute,
    outputs={
        "chi_error": Output(
            "Chimap",
            desc="error",
            units="ppm",
            algorithm="noise, and the further error of TGV-QSM of simulated heads",
            steps=("chi_noise",),
        )
    },
    need=Need(40, 0, 0.1, threaded=False),
    sentence=(
        "The expected error of susceptibility contains this noise, and the further error of TGV-QSM "
        "[@langkammer2015] of simulated heads."
    ),
    shown=Shown(
        (
            View(
                "chi_error",
                "Expected error",
                (0.0001, 0.1),
                "ppm",
                "inferno",
                logarithmic=True,
                caption=(
                    "Noise, and detail that regularisation takes away, by simulated heads. Slow shading and "
                    "the surroundings of strong sources may be further off."
                ),
            ),
        )
    ),
    switch=Switch(True, "expected error of susceptibility by TGV-QSM, regularisation included"),
    only=BY_RESPONSE,
)
