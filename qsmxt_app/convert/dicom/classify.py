"""What each series is, judged from its header, with how sure that is and why in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.series import Series, same_grid
from qsmxt_app.convert.dicom.vendors import is_field_map_sequence

Role = Literal[
    "gradient-echo",
    "field-map",
    "phase-difference",
    "b0-map",
    "T1w",
    "UNIT1",
    "localiser",
    "derived",
    "other",
]
"""``gradient-echo``: magnitude, phase, real or imaginary of single echoes; ``field-map``: the magnitudes that
come with a phase difference. The rest is what its name says."""
Confidence = Literal["high", "medium", "low"]

_LOCALISER = re.compile(
    r"locali[sz]er|scout|survey|plan_?scan|\b3[- ]?plane|smartbrain|\bloc\b|^aahead", re.I
)
_T1W = re.compile(
    r"mp-?rage|bravo|\bt1w?\b|t1[-_ ]?(3d|w|tfe|space|mp|vibe)|3d[-_ ]?t1|fspgr|adni|mp2rage", re.I
)
_PROCESSED = frozenset(
    " ".join(word.split())
    for word in """
    MPR, MIP, MNIP, MINIP, MIN_IP, MINIMUM, MAXIMUM, SWI, SWAN, PROJECTION IMAGE, CSA MPR,
    CSAPARALLEL, SUBTRACTION, ADC, FA, TRACEW, TENSOR, REFORMATTED, AVERAGE, AVE, MEAN, T1 MAP, T2
    MAP, T2_STAR MAP, T2STAR MAP, R2_STAR MAP, R2 MAP, R1 MAP, SCREEN SAVE, RESAMPLED, QSM, MOCO,
    CSA RESAMPLED, CPR, WATER, FAT, IN_PHASE, OUT_PHASE, FAT_FRACTION, RGB, PCA, HP, FILTERED,
    DIFFUSION, PERFUSION, B1, B1 MAP, FLIP ANGLE MAP
""".split(",")  # noqa: SIM905 - one word a line would fill the page
)
_OTHER_SCANS = frozenset({"DIFFUSION", "PERFUSION"})
"""Words of `_PROCESSED` that original images of these scans have too."""
_SPIN_ECHO_PLANAR = re.compile(r"epse|ep_b|ez_b|dwi", re.I)
_GRADIENT_ECHO = re.compile(r"ffe|gre|spgr|flash|fl[23]d|fe", re.I)
_ENDING: dict[Component, re.Pattern[str]] = {
    "phase": re.compile(r"(^|[^a-z])(pha?|phase|pha_images)(_?map)?$", re.I),
    "real": re.compile(r"(^|[^a-z])real$", re.I),
    "imaginary": re.compile(r"(^|[^a-z])(imag|imaginary)$", re.I),
    "magnitude": re.compile(r"(^|[^a-z])(mag|magnitude|mag_images)$", re.I),
}
SHORTEST_TIME_SERIES = 8
"""Volumes: a scan that is repeated so often in one series follows something in time."""
LONGEST_ECHO_TIME_OF_T1W = 0.012
"""s."""
SHORTEST_ECHO_TIME_ALONE = 0.010
"""s: a single magnitude without phase and with a shorter echo time is not T2*-weighted."""


@dataclass(frozen=True)
class SeriesType:
    """What a series is.

    Attributes
    ----------
    role
        See `Role`.
    components
        Of its stacks, in their order; a stack of unknown component counts as magnitude.
    confidence
        How sure it is.
    reason
        Why, in words that a person can check against the header.
    """

    role: Role
    components: tuple[Component, ...]
    confidence: Confidence
    reason: str


def classify(series: Sequence[Series]) -> dict[str, SeriesType]:
    """Tell what each series is, alone and among those of its study.

    Returns
    -------
    dict
        From the series' key to its series_type. A phase image is called the phase of an echo only if each
        magnitude echo of the same scan has one; a single phase beside two magnitudes is their difference.
    """
    types = {one.key: classify_alone(one) for one in series}
    for one in series:
        types[one.key] = _among_neighbours(one, types, series)
    return {one.key: _after_neighbours(one, types, series) for one in series}


def classify_alone(series: Series) -> SeriesType:
    """Tell what a series is from its own header."""
    components, guessed = _components(series)
    for rule in (_map, _derived, _localiser, _t1w, _not_gradient_echo):
        series_type = rule(series, components)
        if series_type is not None:
            return series_type
    named = ", ".join(dict.fromkeys(components))
    reason = f"gradient echo, {named}" + (" (from its name)" if guessed else "")
    if _field_map_sequence(series):
        return SeriesType("gradient-echo", components, "high", f"{reason}, of a field-map sequence")
    return SeriesType("gradient-echo", components, "low" if guessed else "high", reason)


def _components(series: Series) -> tuple[tuple[Component, ...], bool]:
    """Components of the stacks; from the header, else from the series' name, else magnitude."""
    silent: Component = "magnitude"
    guessed = False
    if "unknown" in series.components and len(series.components) == 1:
        for component, ending in _ENDING.items():
            if ending.search(series.scan.description):
                silent, guessed = component, True
    named = tuple(silent if s.component == "unknown" else s.component for s in series.stacks)
    return named, guessed


def _words(series: Series) -> frozenset[str]:
    return frozenset(word for stack in series.stacks for word in stack.kind.image_type)


def _named(pattern: re.Pattern[str], series: Series) -> bool:
    scan = series.scan
    return bool(pattern.search(scan.description) or pattern.search(scan.protocol))


def _map(series: Series, components: tuple[Component, ...]) -> SeriesType | None:
    if "b0map" in components:
        return SeriesType(
            "b0-map", components, "high", "a map of the field in Hz, by its image type or units"
        )
    if "phasediff" in components:
        return SeriesType("phase-difference", components, "high", "its image type says phase difference")
    return None


def _derived(series: Series, components: tuple[Component, ...]) -> SeriesType | None:
    words = _words(series)
    if "UNI" in words:
        return None
    processed = sorted(words & _PROCESSED)
    original = all(stack.kind.image_type[:1] == ("ORIGINAL",) for stack in series.stacks)
    if original and processed and set(processed) <= _OTHER_SCANS:
        return SeriesType("other", components, "high", f"a {processed[0].lower()} scan, by its image type")
    if processed:
        return SeriesType("derived", components, "high", f"computed by the scanner: {', '.join(processed)}")
    kinds = {stack.kind.image_type[:2] for stack in series.stacks}
    if kinds and all(kind == ("DERIVED", "SECONDARY") for kind in kinds):
        return SeriesType("derived", components, "medium", "image type DERIVED, SECONDARY")
    return None


def _localiser(series: Series, components: tuple[Component, ...]) -> SeriesType | None:
    if _words(series) & {"LOCALIZER", "SCOUT", "LOCALISER"}:
        return SeriesType("localiser", components, "high", "its image type says localiser")
    if _named(_LOCALISER, series):
        return SeriesType("localiser", components, "high", f"its name: {series.scan.description}")
    planes = {tuple(round(abs(c), 1) for c in stack.kind.orientation) for stack in series.stacks}
    if len(planes) > 1 and set(components) == {"magnitude"}:
        return SeriesType("localiser", components, "medium", f"slices in {len(planes)} directions")
    return None


def _t1w(series: Series, components: tuple[Component, ...]) -> SeriesType | None:
    scan = series.scan
    technique = scan.technique.lower()
    if "UNI" in _words(series):
        return SeriesType("UNIT1", components, "high", "image type UNI: MP2RAGE, both inversions combined")
    if "mp2rage" in f"{scan.protocol} {scan.description}".lower():
        return SeriesType(
            "other", components, "medium", "one inversion of MP2RAGE: only the combined UNI is used"
        )
    is_short = all(time <= LONGEST_ECHO_TIME_OF_T1W for time in series.echo_times)
    codes = set(scan.scanning_sequence)
    if (
        set(components) != {"magnitude"}
        or not is_short
        or codes & {"SE", "EP"}
        or scan.acquisition_type == "2D"
    ):
        return None
    named = _named(_T1W, series)
    prepared = (
        "IR" in codes
        or "tfl" in technique
        or "t1tfe" in technique
        or "bravo" in technique
        or (scan.inversion_time or 0) > 0.3
    )
    if prepared:
        why = f"3D gradient echo after an inversion{', by name too' if named else ''}"
        return SeriesType("T1w", components, "high" if named else "medium", why)
    if named and len(series.echo_times) <= 1 and "GR" in codes:
        return SeriesType("T1w", components, "medium", f"3D gradient echo, by its name: {scan.description}")
    return None


def _not_gradient_echo(series: Series, components: tuple[Component, ...]) -> SeriesType | None:
    scan = series.scan
    codes = set(scan.scanning_sequence)
    volumes = 1 + max((stack.repetition for stack in series.stacks), default=0)
    planar = _is_echo_planar(series)
    if "SE" in codes or (planar and _SPIN_ECHO_PLANAR.search(scan.technique)):
        return SeriesType("other", components, "high", "a spin echo")
    if volumes >= SHORTEST_TIME_SERIES or (planar and volumes > 1):
        return SeriesType("other", components, "high", f"a time series of {volumes} volumes")
    if "IR" in codes:
        return SeriesType("other", components, "high", "an inversion recovery, but not a T1w image")
    if not codes & {"GR", "EP"} and not _GRADIENT_ECHO.search(scan.technique):
        if set(components) & {"phase", "real", "imaginary"}:
            return None
        return SeriesType("other", components, "medium", "the header names no gradient echo")
    return None


def _is_echo_planar(series: Series) -> bool:
    return "EP" in series.scan.scanning_sequence or "epi" in series.scan.technique.lower()


def _field_map_sequence(series: Series) -> bool:
    return is_field_map_sequence(series.scan.manufacturer, series.scan.technique)


def is_neighbour(one: Series, two: Series) -> bool:
    """Whether two series may belong to one scan: same study and grid, not two images of the same slices."""
    same_study = one.scan.study_uid == two.scan.study_uid and one.scan.patient_id == two.scan.patient_id
    return same_study and any(same_grid(a, b) for a in one.stacks for b in two.stacks[:1])


def _among_neighbours(one: Series, types: dict[str, SeriesType], series: Sequence[Series]) -> SeriesType:
    """Call a lone phase beside more magnitude echoes what it is: their difference."""
    series_type = types[one.key]
    if series_type.role != "gradient-echo" or "phase" not in series_type.components:
        return series_type
    phases = _echo_times(one, series_type, "phase")
    if len(phases) > 1:
        return series_type
    if _field_map_sequence(one):
        return _difference(series_type, "phase of a field-map sequence, one image for two echoes")
    magnitudes = set(_echo_times(one, series_type, "magnitude"))
    for other in series:
        known = types[other.key]
        near = other is not one and known.role == "gradient-echo" and is_neighbour(one, other)
        if near and same_protocol(one, other):
            if set(_echo_times(other, known, "phase")) - set(phases):
                return series_type
            magnitudes |= set(_echo_times(other, known, "magnitude"))
    if len(magnitudes) >= 2:
        return _difference(series_type, f"one phase image beside magnitudes of {len(magnitudes)} echoes")
    return series_type


def _difference(series_type: SeriesType, reason: str) -> SeriesType:
    components: tuple[Component, ...] = tuple(
        "phasediff" if component == "phase" else component for component in series_type.components
    )
    return SeriesType("phase-difference", components, "high" if "sequence" in reason else "medium", reason)


def _echo_times(series: Series, series_type: SeriesType, component: Component) -> list[float]:
    times = {
        round(stack.echo_time or 0.0, 5)
        for stack, named in zip(series.stacks, series_type.components, strict=True)
        if named == component
    }
    return sorted(times)


def belongs_to_map(magnitude: Series, field_map: Series) -> bool:
    """Whether a magnitude was acquired with a field map: by protocol, or next to it whatever it is called."""
    adjacent = abs(magnitude.number - field_map.number) <= 1
    return same_protocol(magnitude, field_map) or (adjacent and _same_timing(magnitude, field_map))


def same_protocol(one: Series, two: Series) -> bool:
    """Whether two series were acquired with one protocol: name, repetition time and flip angle."""
    a, b = one.scan, two.scan
    names = {_plain(a.protocol), _plain(b.protocol)} if a.protocol and b.protocol else {
        _plain(a.description), _plain(b.description)
    }  # fmt: skip
    return len(names) == 1 and _same_timing(one, two)


def _same_timing(one: Series, two: Series) -> bool:
    a, b = one.scan, two.scan
    return (
        _about(a.repetition_time, b.repetition_time)
        and _about(a.flip_angle, b.flip_angle)
        and a.manufacturer == b.manufacturer
    )


def _plain(name: str) -> str:
    """Name without what vendors and users append for the part and the echo."""
    bare = re.sub(r"[^a-z0-9]+", " ", name.lower())
    part = r"\b(mag|magnitude|pha?|phase|real|imag|imaginary|images?|norm|nd|(e|echo|te) ?\d+)\b"
    return " ".join(re.sub(part, " ", bare).split())


def _about(one: float | None, two: float | None) -> bool:
    return one is None or two is None or abs(one - two) <= 0.01 * max(abs(one), abs(two))


def _after_neighbours(one: Series, types: dict[str, SeriesType], series: Sequence[Series]) -> SeriesType:
    """Judge again magnitudes whose meaning depends on what else the scan gave."""
    series_type = types[one.key]
    if set(series_type.components) != {"magnitude"}:
        return series_type
    phases = _has_phase(one, types, series)
    if series_type.role == "T1w":
        return _t1w_again(one, series_type, types, series, phases=phases)
    if series_type.role != "gradient-echo":
        return series_type
    for other in series:
        known = types[other.key]
        if other is one or known.role not in {"phase-difference", "b0-map"} or not is_neighbour(one, other):
            continue
        if belongs_to_map(one, other) and "magnitude" not in known.components and not phases:
            role = known.role.replace("-", " ")
            return SeriesType(
                "field-map", series_type.components, "high", f"magnitude beside a {role}, {other.key}"
            )
    return series_type if phases else _magnitude_alone(one, series_type, types, series)


def _t1w_again(
    one: Series,
    series_type: SeriesType,
    types: dict[str, SeriesType],
    series: Sequence[Series],
    *,
    phases: bool,
) -> SeriesType:
    if phases and "IR" not in one.scan.scanning_sequence and "by its name" in series_type.reason:
        return SeriesType(
            "gradient-echo", series_type.components, "medium", "gradient echo, magnitude beside its phase"
        )
    for other in series:
        if types[other.key].role == "UNIT1" and is_neighbour(one, other) and same_protocol(one, other):
            why = "one inversion of MP2RAGE: only the combined UNI is used"
            return SeriesType("other", series_type.components, "high", why)
    return series_type


def _magnitude_alone(
    one: Series,
    series_type: SeriesType,
    types: dict[str, SeriesType],
    series: Sequence[Series],
) -> SeriesType:
    """Magnitude without phase: kept only if it has several echoes or a long one."""
    if _field_map_sequence(one):
        why = "magnitude of a field map whose phase is missing"
        return SeriesType("other", series_type.components, "high", why)
    if _is_echo_planar(one):
        return SeriesType("other", series_type.components, "medium", "an echo-planar image without phase")
    times = set(one.echo_times)
    for other in series:
        if (
            types[other.key].role == "gradient-echo"
            and is_neighbour(one, other)
            and same_protocol(one, other)
        ):
            times |= set(other.echo_times)
    if len(times) == 1 and min(times) < SHORTEST_ECHO_TIME_ALONE:
        why = f"gradient echo of one short echo ({min(times) * 1000:g} ms) without phase"
        return SeriesType("other", series_type.components, "medium", why)
    return series_type


def _has_phase(one: Series, types: dict[str, SeriesType], series: Sequence[Series]) -> bool:
    return any(
        types[other.key].role == "gradient-echo"
        and set(types[other.key].components) != {"magnitude"}
        and is_neighbour(one, other)
        and same_protocol(one, other)
        for other in series
    )
