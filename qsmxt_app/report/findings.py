"""What a reader should know before trusting a map, in words that need no physics.

Each check compares a recorded fact with a limit that the text states; without the fact it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from qsmxt_app.report.scan_record import Record, number, numbers

LEVELS = ("error", "warning", "note")

HEAD_ML = (300.0, 7000.0)
LARGEST_HOLE_FRACTION = 0.25
SMALLEST_TRUSTED_FRACTION = 0.7
LARGEST_VOXEL_MM = 2.0
LARGEST_ANISOTROPY = 3.0
OBLIQUE_DEGREES = 5.0
EDGE_FRACTION = 0.02
CROPPED_FACE = 0.5
CROPPED_SIDES = 4
CHI_SPREAD_PPM = (0.004, 0.25)
ECHO_TIME_SECONDS = (0.0003, 0.2)


@dataclass(frozen=True)
class Finding:
    """One thing to know: how serious (`error`, `warning`, `note`), what it is, what it means, what to do."""

    level: str
    title: str
    text: str = ""
    log: str = ""


@dataclass(frozen=True)
class MapFacts:
    """What the volumes themselves show.

    Attributes
    ----------
    chi_spread
        Interquartile range of chi in units of that of a standard normal distribution, ppm: a standard
        deviation that bone, fat and air do not decide.
    not_finite
        Number of voxels of chi that are no numbers.
    mask_voxels
        Voxels in the mask.
    edge_fraction
        For each side of the image (`left`, `top`...), the share of that face which the mask touches.
    missing
        Outputs that the record promises and that are not on disk or cannot be read.
    """

    chi_spread: float | None = None
    not_finite: int = 0
    mask_voxels: int | None = None
    edge_fraction: Mapping[str, float] | None = None
    missing: tuple[str, ...] = ()


def find(record: Record, facts: MapFacts) -> tuple[Finding, ...]:
    """Collect all findings of one acquisition, the most serious first.

    Parameters
    ----------
    record
        What the workflow noted.
    facts
        What the volumes show.
    """
    checks: tuple[Callable[[Record, MapFacts], Iterator[Finding]], ...] = (
        _failures,
        _recorded,
        _broken_volumes,
        _convergence,
        _mask,
        _edges,
        _field,
        _spread,
        _echoes,
        _geometry,
    )
    found = [finding for check in checks for finding in check(record, facts)]
    return tuple(sorted(found, key=lambda finding: LEVELS.index(finding.level)))


def _failures(record: Record, _: MapFacts) -> Iterator[Finding]:
    for error in record.errors:
        title = f"The step “{error.step}” failed" if error.step else "This acquisition failed"
        yield Finding("error", title, error.message, error.log)
    if record.failed and not record.errors:
        yield Finding("error", "This acquisition failed", "No message was recorded: see the log of the run.")


def _recorded(record: Record, _: MapFacts) -> Iterator[Finding]:
    for warning in record.warnings:
        title, stop, rest = warning.partition(". ")
        yield Finding("warning", title + ("." if stop else ""), rest)


def _broken_volumes(_: Record, facts: MapFacts) -> Iterator[Finding]:
    if facts.missing:
        yield Finding(
            "warning",
            f"Files are missing or cannot be read: {', '.join(facts.missing)}",
            "They were written once, so they were moved or damaged since. Run this participant again.",
        )
    if facts.not_finite:
        yield Finding(
            "error",
            f"{facts.not_finite} voxels of the susceptibility map are not numbers",
            "They are shown in pink. The map must not be used for averages.",
        )
    if facts.mask_voxels == 0:
        yield Finding("error", "The mask is empty", "No voxel was found whose signal can be used.")


def _convergence(record: Record, _: MapFacts) -> Iterator[Finding]:
    for name, solve in (("", record.tgv), (" of the reliable voxels", record.tgv_reliable)):
        if solve.get("converged") is False:
            count = number(solve.get("iterations"))
            after = f" after {count:.0f} iterations" if count else ""
            advice = "Allow more iterations (--tgv-iterations) and run again."
            if record.settings.get("qsm_method") == "two-step":
                advice = "Compare with another --inversion, or with --qsm-method tgv."
            yield Finding(
                "warning",
                f"The calculation{name} stopped{after}, before it had settled",
                "Values, above all of large and strong structures, would still have changed. " + advice,
            )
    if record.background.get("background_converged") is False:
        yield Finding(
            "warning",
            "The removal of the background field stopped before it had settled",
            "Slow variations across the map are not to be trusted. Compare with another --background.",
        )


def _mask(record: Record, facts: MapFacts) -> Iterator[Finding]:
    volume, holes = number(record.mask.get("volume_ml")), number(record.mask.get("hole_fraction"))
    low, high = HEAD_ML
    # a crop inside the head may be small
    cropped = sum(share > CROPPED_FACE for share in (facts.edge_fraction or {}).values()) >= CROPPED_SIDES
    head = record.settings.get("preset") != "body" and not cropped
    if volume is not None and not low <= volume <= high and head:
        yield Finding(
            "warning",
            f"The mask holds {volume:.0f} ml",
            f"A brain or a whole head gives {low:.0f} to {high:.0f} ml. Compare the outline with "
            "the image below: "
            "too small a mask loses parts of the brain, too large a mask takes in air, which "
            "spoils what is near.",
        )
    if holes is not None and holes > LARGEST_HOLE_FRACTION:
        yield Finding(
            "warning",
            f"The phase is unreliable in {holes:.0%} of the mask",
            f"More than {LARGEST_HOLE_FRACTION:.0%} is unusual. Reasons are motion, coils "
            "combined without their "
            "phase, or echo times that are too long for this field strength.",
        )


def _edges(_: Record, facts: MapFacts) -> Iterator[Finding]:
    cut = [side for side, share in (facts.edge_fraction or {}).items() if share > EDGE_FRACTION]
    if cut:
        yield Finding(
            "note",
            f"The mask reaches the edge of the image ({', '.join(cut)})",
            "The object goes on beyond the image: values within about a centimetre of that edge "
            "are less accurate.",
        )


def _field(record: Record, _: MapFacts) -> Iterator[Finding]:
    trusted = number(record.field.get("trusted_fraction"))
    if trusted is not None and trusted < SMALLEST_TRUSTED_FRACTION:
        yield Finding(
            "warning",
            f"Only {trusted:.0%} of the voxels have a field that can be trusted",
            f"At least {SMALLEST_TRUSTED_FRACTION:.0%} is usual. Elsewhere the echoes contradict each other.",
        )


def _spread(_: Record, facts: MapFacts) -> Iterator[Finding]:
    low, high = CHI_SPREAD_PPM
    if facts.chi_spread is None or low <= facts.chi_spread <= high:
        return
    if facts.chi_spread < low:
        text = "A map this flat shows no tissue: the phase may be missing, constant, or scaled wrongly."
    else:
        text = (
            "Values this large are not tissue. The phase may be scaled wrongly, or the mask may take in air."
        )
    yield Finding(
        "warning",
        f"Susceptibility varies by {facts.chi_spread:.3g} ppm, expected {low:g} to {high:g}",
        text,
    )


def _echoes(record: Record, _: MapFacts) -> Iterator[Finding]:
    echo_times = record.echo_times
    low, high = ECHO_TIME_SECONDS
    # the first echo of ultrashort-echo-time imaging is legitimately shorter, the last one is not
    if echo_times and not (low <= max(echo_times) <= high):
        yield Finding(
            "warning",
            "An echo time is not plausible",
            f"EchoTime is in seconds and lies between {low:g} and {high:g} s in gradient-echo imaging. "
            "Milliseconds or another unit give susceptibilities that are wrong by that factor.",
        )
    if len(echo_times) == 1:
        yield Finding(
            "note",
            "There is only one echo",
            "The phase of the receive coil cannot be told from that of the tissue, the error of "
            "the field cannot "
            "be measured, and there is no R2* map. Smooth variations across the head are less reliable.",
        )
    if record.inputs.get("bipolar") is True:
        yield Finding(
            "note",
            "Every other echo was read out backwards (bipolar)",
            "The phase difference between odd and even echoes was estimated and removed.",
        )


def _geometry(record: Record, _: MapFacts) -> Iterator[Finding]:
    sizes = numbers(record.inputs.get("voxel_size"))
    if len(sizes) == 3 and min(sizes) > 0:
        if max(sizes) > LARGEST_VOXEL_MM:
            yield Finding(
                "note",
                f"Voxels are up to {max(sizes):.3g} mm long",
                f"Above {LARGEST_VOXEL_MM:g} mm, veins and small nuclei are averaged with what "
                "surrounds them, "
                "and read too low.",
            )
        elif max(sizes) / min(sizes) > LARGEST_ANISOTROPY:
            yield Finding(
                "note",
                "Voxels are much longer in one direction than in the others",
                "Cubic voxels are most accurate; thick slices lower the values of small structures.",
            )
    angle = number(record.inputs.get("obliquity_degrees"))
    if angle is not None and angle > OBLIQUE_DEGREES:
        yield Finding(
            "note",
            f"The slices are tilted by {angle:.0f}° against the scanner",
            "The tilt is part of the calculation. Pictures show the slices as they were "
            "measured, so L, R, A and P "
            "are the nearest sides.",
        )
