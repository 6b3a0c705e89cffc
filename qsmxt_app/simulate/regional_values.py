"""Regional values of a simulated study without images: what statistics are tested with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qsmxt_app.arrays import FloatArray
from qsmxt_app.simulate.cohort import TrueEffects, draw_participant
from qsmxt_app.simulate.person import draw_chi
from qsmxt_app.simulate.tissues import LABELS, TISSUES

NUCLEI = tuple(
    tissue.name.removeprefix("Left-")
    for tissue in TISSUES
    if tissue.kind == "nucleus" and tissue.name.startswith("Left-")
)
NOISE = 0.004
"""Standard deviation of the error of a regional value, in ppm."""


def simulate_regional_values(
    seed: int,
    participants: int = 24,
    effects: TrueEffects | None = None,
    *,
    sessions: int = 1,
    nuclei: tuple[str, ...] = NUCLEI,
) -> list[dict[str, str]]:
    """Return rows of the group's tidy table: chi of nuclei on both sides, with age, sex and group.

    Parameters
    ----------
    seed
        Of the study: the people are those that
        :func:`~qsmxt_app.simulate.subject.simulate_subject` draws with it.
    participants, sessions
        How many; sessions differ by `NOISE` alone.
    effects
        Of age, sex and group.
    nuclei
        Tissues without their side.
    """
    rows = []
    for number in range(1, participants + 1):
        person = draw_participant(seed, number)
        chi, change = draw_chi(np.random.default_rng([seed, number])), (effects or TrueEffects()).of(person)
        noise = np.random.default_rng([seed, number, 7])
        for session in range(1, sessions + 1):
            scan = {
                "participant_id": f"sub-{number:02d}",
                "session_id": f"ses-{session}" if sessions > 1 else "",
                "age": str(person.age),
                "sex": person.sex,
                "group": person.group,
            }
            tissues = [f"{side}-{name}" for name in nuclei for side in ("Left", "Right")]
            rows += [{**scan, **_region(tissue, chi, change, noise)} for tissue in tissues]
    return rows


def _region(
    tissue: str, chi: FloatArray, change: Mapping[str, float], noise: np.random.Generator
) -> dict[str, str]:
    side, _, name = tissue.partition("-")
    value = float(chi[LABELS[tissue]] + change.get(tissue, 0.0) + noise.normal(0, NOISE))
    return {
        "atlas": "truth",
        "index": str(LABELS[tissue]),
        "region": name.lower().replace("-", " "),
        "hemisphere": side[0],
        "map": "chi",
        "mean": repr(value),
        "median": repr(value),
        "units": "ppm",
        "confidence": "good",
    }
