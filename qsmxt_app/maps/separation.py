"""Paramagnetic and diamagnetic sources of susceptibility."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qsmxt_app.bibliography import Reference
from qsmxt_app.maps.declaration import Computed, MapStep, MeasuredOutput, Need, Scan, Shown, Switch, View
from qsmxt_app.qsm.separation import SEPARATION_METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qsmxt_app.arrays import BoolArray, FloatArray

AUTO = "joint"
LIMITS = (0.0, 0.15)


def compute(
    scan: Scan,
    *,
    chi: FloatArray,
    mask: BoolArray,
    r2star: FloatArray,
    magnitude: FloatArray,
    total_field: FloatArray,
    field_noise: FloatArray,
    r2: FloatArray | None = None,
) -> Computed:
    """Separate the sources of chi by R2', ppm."""
    from qsmxt_app.qsm.constants import hz_per_ppm
    from qsmxt_app.qsm.separation.separate import separate_sources

    separated = separate_sources(
        chi,
        mask,
        r2star=r2star,
        r2=r2,
        magnitude=magnitude,
        total_field=total_field,
        field_noise=field_noise / hz_per_ppm(scan.field_strength),
        echo_times=scan.echo_times,
        voxel_size=scan.voxel_size,
        b0_direction=scan.b0_direction,
        field_strength=scan.field_strength,
        method=_method(scan.settings),
        threads=scan.threads,
    )
    maps = {"paramagnetic": separated.sources.paramagnetic, "diamagnetic": separated.sources.diamagnetic}
    return Computed(maps, separated.facts)


def _output(desc: str, title: str, sign: str) -> MeasuredOutput:
    return MeasuredOutput(
        "Chimap",
        desc=desc,
        units="ppm",
        algorithm=f"source separation by R2'; {sign}",
        title=title,
        quantity=f"magnitude of the susceptibility of {desc} sources",
        averaged=True,
    )


def _method(settings: Mapping[str, Any]) -> str:
    choice = settings.get("separation")
    return str(choice) if choice in SEPARATION_METHODS else AUTO


def describe(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Say by which method, and where R2 came from."""
    from qsmxt_app.qsm.separation.reversible import TYPICAL_R2
    from qsmxt_app.qsm.separation.separate import MOSTLY

    phrase = SEPARATION_METHODS[_method(settings)].phrase
    share = facts.get("r2_measured_share")
    if share is None:
        return f"The method was {phrase}."
    source = (
        "R2 was measured and registered rigidly to the gradient echoes"
        if share > MOSTLY
        else f"R2 was not measured but taken to be that of tissue on average ({TYPICAL_R2} 1/s at 3 T)"
    )
    return f"The method was {phrase}. {source}."


MAP = MapStep(
    "separation",
    compute,
    outputs={
        "paramagnetic": _output("paramagnetic", "χ+", "magnitudes: chi is paramagnetic less diamagnetic"),
        "diamagnetic": _output(
            "diamagnetic", "|χ-|", "magnitudes: diamagnetic susceptibility is the negative of this map"
        ),
    },
    need=Need(320, 16, 5.0),
    sentence=(
        "Paramagnetic and diamagnetic sources were separated: chi is their difference, and R2' their sum, by "
        "static dephasing with 137 1/s per ppm at 3 T [@shin2021]."
    ),
    details=describe,
    shown=Shown(
        (
            View("paramagnetic", "Paramagnetic sources (χ+)", LIMITS, "ppm", "inferno"),
            View("diamagnetic", "Diamagnetic sources (|χ-|)", LIMITS, "ppm", "inferno"),
        ),
        title="Paramagnetic and diamagnetic sources",
        missing="map of separated sources",
        text=(
            "Iron is paramagnetic, myelin and calcium are diamagnetic; a voxel may hold both. R2' of white "
            "matter depends on the angle of its fibres to the main field, which is not modelled. Without a "
            "scan of R2, both maps are qualitative there."
        ),
    ),
    switch=Switch(
        "none",
        "paramagnetic and diamagnetic sources by R2* and, where the dataset has it, R2; auto: joint",
        ("none", "auto", *SEPARATION_METHODS),
    ),
    fewest_echoes=2,
    settings=("separation",),
    papers=(
        Reference(
            key="shin2021",
            short="Shin et al., 2021",
            authors=(
                "Shin, Hyeong-Geol", "Lee, Jingu", "Yun, Young Hyun", "Yoo, Seong Ho", "Jang, Jinhee",
                "Oh, Se-Hong", "Nam, Yoonho", "Jung, Sehoon", "Kim, Sunhye", "Fukunaga, Masaki",
                "Kim, Woojun", "Choi, Hyung Jin", "Lee, Jongho",
            ),
            title="χ-separation: Magnetic susceptibility source separation toward iron and myelin mapping in "
            "the brain",
            journal="NeuroImage",
            year=2021,
            volume="240",
            pages="118371",
            doi="10.1016/j.neuroimage.2021.118371",
        ),
    ),
)  # fmt: skip
