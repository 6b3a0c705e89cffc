"""What a reader should know before using a map, in words that need no physics.

Each check compares a recorded fact with a limit that the text states; without the fact it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qsmxt_app.qsm.sign_check import CLEAR_IRON
from qsmxt_app.records.scan import ScanRecord

LEVELS = ("error", "warning", "note")
VERDICTS = {"error": "not usable", "warning": "look first", "note": "usable", "": "usable"}
"""What the most serious finding means for who wants to use the map; on the page and in the list alike."""
NO_RECORD = "no record"
VERDICT_ORDER = ("failed", "not usable", NO_RECORD, "look first", "usable")

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


def find(record: ScanRecord, missing: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Collect all findings of one acquisition, the most serious first.

    Parameters
    ----------
    record
        What was done, and what the maps show.
    missing
        Outputs that the record promises and that are not on disk or cannot be read.
    """
    checks = (
        _failures,
        _recorded,
        _broken_volumes,
        _convergence,
        _mask,
        _edges,
        _field,
        _spread,
        _sign,
        _poor_measures,
        _echoes,
        _geometry,
    )
    found = [*_missing(missing), *(finding for check in checks for finding in check(record))]
    return tuple(sorted(found, key=lambda finding: LEVELS.index(finding.level)))


def worst(findings: Iterable[Finding]) -> str:
    """Return the most serious level among findings, or empty text."""
    return min((finding.level for finding in findings), key=LEVELS.index, default="")


def verdict(record: ScanRecord, level: str) -> str:
    """Say in a word or two whether a map can be used.

    Parameters
    ----------
    record
        What was done.
    level
        Of its most serious finding.
    """
    return "failed" if record.failed else VERDICTS[level]


def _failures(record: ScanRecord) -> Iterator[Finding]:
    for error in record.errors:
        title = f"The step “{error.step}” failed" if error.step else "This acquisition failed"
        yield Finding("error", title, error.message, error.log)
    if record.failed and not record.errors:
        yield Finding("error", "This acquisition failed", "No message was recorded: see the log of the run.")


def _recorded(record: ScanRecord) -> Iterator[Finding]:
    for warning in record.warnings:
        title, stop, rest = warning.partition(". ")
        yield Finding("warning", title + ("." if stop else ""), rest)


def _sign(record: ScanRecord) -> Iterator[Finding]:
    contrast = record.checks.iron_contrast
    if contrast is not None and contrast < -CLEAR_IRON:
        yield Finding(
            "warning",
            "The sign of the map seems to be inverted",
            f"Where R2* is highest deep in the head, χ lies {-contrast:.2g} standard deviations below the "
            "rest. Iron in nuclei and veins raises both. Multiply the phase images by -1 and run again.",
        )


def _missing(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        yield Finding(
            "warning",
            f"Files are missing or cannot be read: {', '.join(names)}",
            "They were written once, so they were moved or damaged since. Run this participant again.",
        )


def _broken_volumes(record: ScanRecord) -> Iterator[Finding]:
    if record.checks.not_finite:
        yield Finding(
            "error",
            f"{record.checks.not_finite} voxels of the susceptibility map are not numbers",
            "They are shown in pink. The map must not be used for averages.",
        )
    if record.checks.mask_voxels == 0:
        yield Finding("error", "The mask is empty", "No voxel was found whose signal can be used.")


def _convergence(record: ScanRecord) -> Iterator[Finding]:
    for name, solve in (("", record.inversion), (" of the reliable voxels", record.inversion_reliable)):
        if solve.converged is False:
            after = f" after {solve.iterations} iterations" if solve.iterations else ""
            advice = "Allow more iterations (--tgv-iterations) and run again."
            if record.settings.get("qsm_method") == "two-step":
                advice = "Compare with another --inversion, or with --qsm-method tgv."
            yield Finding(
                "warning",
                f"The calculation{name} stopped{after}, before it converged",
                "Values, above all of large and strong structures, would still have changed. " + advice,
            )
    if False in (record.background.background_converged, record.background_reliable.background_converged):
        yield Finding(
            "warning",
            "Background field removal stopped before it converged",
            "Slow variations across the map are unreliable. Compare with another --background.",
        )


def _mask(record: ScanRecord) -> Iterator[Finding]:
    volume, holes = record.mask.volume_ml, record.mask.hole_fraction
    low, high = HEAD_ML
    # a crop inside the head may be small
    cropped = sum(share > CROPPED_FACE for share in record.checks.edge_fraction.values()) >= CROPPED_SIDES
    small = record.inputs.length_scale != 1
    head = record.settings.get("preset") != "body" and not cropped and not small
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


def _edges(record: ScanRecord) -> Iterator[Finding]:
    cut = [side for side, share in record.checks.edge_fraction.items() if share > EDGE_FRACTION]
    if cut:
        yield Finding(
            "note",
            f"The mask reaches the edge of the image ({', '.join(cut)})",
            "The object extends beyond the image: values within about a centimetre of that edge "
            "are less accurate.",
        )


def _field(record: ScanRecord) -> Iterator[Finding]:
    trusted = record.field.trusted_fraction
    if trusted is not None and trusted < SMALLEST_TRUSTED_FRACTION:
        yield Finding(
            "warning",
            f"The field is well determined in only {trusted:.0%} of the voxels",
            f"At least {SMALLEST_TRUSTED_FRACTION:.0%} is usual. Elsewhere the echoes contradict each other.",
        )


def _spread(record: ScanRecord) -> Iterator[Finding]:
    low, high = CHI_SPREAD_PPM
    spread = record.checks.chi_spread
    if spread is None or low <= spread <= high:
        return
    if spread < low:
        text = "A map this flat shows no tissue: the phase may be missing, constant, or scaled wrongly."
    else:
        text = (
            "Values this large are not tissue. The phase may be scaled wrongly, or the mask may take in air."
        )
    yield Finding(
        "warning",
        f"Susceptibility varies by {spread:.3g} ppm, expected {low:g} to {high:g}",
        text,
    )


def _poor_measures(record: ScanRecord) -> Iterator[Finding]:
    poor = [measure.title for measure in record.quality.values() if measure.state == "bad"]
    if poor:
        yield Finding(
            "warning",
            f"Poor quality: {', '.join(poor)}",
            "The table below shows the values and their limits.",
        )


def _echoes(record: ScanRecord) -> Iterator[Finding]:
    echo_times = record.inputs.echo_times
    low, high = ECHO_TIME_SECONDS
    # the first echo of ultrashort-echo-time imaging is legitimately shorter, the last one is not
    if echo_times and not (low <= max(echo_times) <= high):
        yield Finding(
            "warning",
            "An echo time is not plausible",
            f"EchoTime is in seconds and lies between {low:g} and {high:g} s in gradient-echo imaging. "
            "Milliseconds or another unit give susceptibilities that are wrong by that factor.",
        )
    if record.inputs.bipolar:
        yield Finding(
            "note",
            "The readout is bipolar",
            "The phase difference between odd and even echoes was estimated and removed.",
        )


def _geometry(record: ScanRecord) -> Iterator[Finding]:
    sizes = record.inputs.voxel_size
    if sizes is not None and min(sizes) > 0:
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
    if record.inputs.length_scale != 1:
        yield Finding(
            "note",
            f"The object was processed as if it were {record.inputs.length_scale:.3g} times as large",
            "Lengths of the method are those of a human head, and the field of view is much smaller. Lengths "
            "in warnings are those of a head too. Give --object-size head where it is a part of one.",
        )
    angle = record.inputs.obliquity_degrees
    if angle is not None and angle > OBLIQUE_DEGREES:
        yield Finding(
            "note",
            f"The slices are tilted by {angle:.0f}° against the scanner",
            "The tilt is part of the calculation. Pictures show the slices as they were "
            "measured, so L, R, A and P "
            "are the nearest sides.",
        )
