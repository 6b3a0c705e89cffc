"""`sub-XX.html`: everything a person needs to judge the maps of one participant, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.errors import NoInput
from qsmxt_app.report.embedding import voxels_per_scan
from qsmxt_app.report.findings import LEVELS, Finding, find
from qsmxt_app.report.label_panels import registration_panel, segmentation_panel, why_no_regions
from qsmxt_app.report.methods import Methods, cited, methods_of
from qsmxt_app.report.panel import Panel
from qsmxt_app.report.panels import (
    chi_panel,
    convergence_panel,
    field_panel,
    mask_panel,
    phase_panel,
    r2star_panel,
    swi_panel,
)
from qsmxt_app.report.quality import Measure, read_quality
from qsmxt_app.report.region_names import region_names
from qsmxt_app.report.regional_panel import regional_findings, regional_values_panel
from qsmxt_app.report.rendering import render, show_duration, show_number, show_product
from qsmxt_app.report.scan_record import (
    Record,
    mapping,
    number,
    numbers,
    output_path,
    read_records,
    sequence,
    text,
)
from qsmxt_app.report.thumbnail import write_thumbnail
from qsmxt_app.report.viewer_section import Viewer, ViewerScan
from qsmxt_app.report.volumes import ON_COARSE, ON_T1W, Volumes, read_volumes

_STATES = {"error": "failed", "warning": "look at the warnings", "note": "done", "": "done"}


@dataclass(frozen=True)
class Step:
    """Time and memory of one step, and the share of the longest step for its bar."""

    name: str
    seconds: float | None
    memory_mb: float | None
    share: float


@dataclass(frozen=True)
class Acquisition:
    """All that the page shows of one acquisition."""

    anchor: str
    title: str
    record: Record
    level: str
    state: str
    findings: Sequence[Finding]
    highlights: Sequence[tuple[str, str]]
    quality: Sequence[Measure]
    facts: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    absent: Sequence[str]
    steps: Sequence[Step]
    methods: Methods


def build_participant_report(output_dir: Path, subject: str, *, volumes: str = "small") -> Path:
    """Write the page of one participant from what is on disk.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject
        Participant label, with or without `sub-`.
    volumes
        How finely the 3-D viewer shows maps: `none`, `small` (a page below 15 MB), `full`.

    Returns
    -------
    pathlib.Path
        `OUTPUT_DIR/sub-XX.html`. It needs no other file and no network.

    Raises
    ------
    NoInput
        The participant has no folder in the derivative dataset.
    """
    label = subject.removeprefix("sub-")
    if not label or "/" in label or not (output_dir / f"sub-{label}").is_dir():
        raise NoInput(
            f"{output_dir} holds no outputs of participant sub-{label}, so there is nothing to report.",
            "Run the participant level first.",
        )
    records = read_records(output_dir, label)
    voxels = 0 if volumes == "none" else voxels_per_scan(volumes, len(records))
    acquisitions, scans = [], []
    for index, record in enumerate(records, 1):
        read = read_volumes(output_dir, record, embed_voxels=voxels)
        anatomy = read_volumes(output_dir, record, ON_T1W)
        coarse = read_volumes(output_dir, record, ON_COARSE)
        acquisitions.append(_acquisition(output_dir, record, read, anatomy, coarse, index))
        if index == 1:
            write_thumbnail(output_dir, label, read)
        if "chi" in read.embedded:
            scans.append(_viewer_scan(output_dir, record, read))
    page = render(
        "participant.html",
        title=f"sub-{label}",
        acquisitions=acquisitions,
        summary=_summary(acquisitions),
        viewer=Viewer(scans) if scans else None,
        references=cited(sentence for item in acquisitions for sentence in item.methods.sentences),
        software=_versions(acquisitions),
    )
    path = output_dir / f"sub-{label}.html"
    write_text(path, page)
    return path


def _acquisition(
    output_dir: Path, record: Record, volumes: Volumes, anatomy: Volumes, coarse: Volumes, index: int
) -> Acquisition:
    missing = (*volumes.facts.missing, *anatomy.facts.missing, *coarse.facts.missing)
    findings = (
        *find(record, replace(volumes.facts, missing=missing)),
        *regional_findings(output_dir, record),
    )
    level = worst(findings)
    panels = {
        "susceptibility map": chi_panel(volumes, record),
        "regions": segmentation_panel(volumes, anatomy, record),
        "regional values": regional_values_panel(output_dir, record),
        "comparison of T1w and magnitude": registration_panel(anatomy, record),
        "phase quality": phase_panel(volumes, coarse),
        "mask": mask_panel(volumes),
        "field map": field_panel(volumes, record),
        "R2* map": r2star_panel(volumes, record),
        "susceptibility-weighted image": swi_panel(volumes),
        "convergence of the solver": convergence_panel(record),
    }
    return Acquisition(
        anchor=f"acquisition-{index}",
        title=record.title,
        record=record,
        level=level,
        state=_STATES[level],
        findings=findings,
        highlights=_highlights(record, volumes),
        quality=read_quality(output_dir, record),
        facts=_input_facts(record),
        settings=_settings(record),
        panels=[panel for panel in panels.values() if panel is not None],
        absent=[_why_absent(name, record) for name, panel in panels.items() if panel is None],
        steps=_steps(record),
        methods=methods_of(record),
    )


def _summary(acquisitions: Sequence[Acquisition]) -> str:
    """Say in a sentence what was found, what became of it, and how long it took."""
    sessions = {text(item.record.entities.get("ses")) for item in acquisitions} - {""}
    among = f" in {len(sessions)} sessions" if len(sessions) > 1 else ""
    failed = sum(item.level == "error" for item in acquisitions)
    doubted = sum(item.level == "warning" for item in acquisitions)
    count = f"{len(acquisitions)} {'acquisitions' if len(acquisitions) != 1 else 'acquisition'}{among}"
    states = [
        f"{number_of} {words}"
        for number_of, words in ((failed, "failed"), (doubted, "to look at"))
        if number_of
    ] or ["nothing unusual"]
    # what several scans share, such as the labels of a T1w, stands in the record of each
    steps = {step for item in acquisitions for step in item.record.timings.items()}
    seconds = sum(spent for _, spent in steps)
    return f"{count}: {', '.join(states)}.{f' All steps took {show_duration(seconds)}.' if seconds else ''}"


def _viewer_scan(output_dir: Path, record: Record, volumes: Volumes) -> ViewerScan:
    names = region_names(output_path(output_dir, record, "dseg"))
    segmentation = volumes.embedded.get("dseg")
    regions = (
        tuple(names.get(label, f"Region {label}") for label in segmentation.labels) if segmentation else ()
    )
    size = volumes.shrinking.voxel_size if volumes.shrinking else (1.0, 1.0, 1.0)
    return ViewerScan(record.title, volumes.embedded, regions, size)


def worst(findings: Sequence[Finding]) -> str:
    """Return the most serious level among findings, or empty text."""
    return min((finding.level for finding in findings), key=LEVELS.index, default="")


def _why_absent(name: str, record: Record) -> str:
    if name == "regional values":
        return "No regional values: they need nuclei and white matter that were labelled."
    if name == "regions":
        return why_no_regions(record)
    if name.startswith("susceptibility-weighted") and record.settings.get("swi") is False:
        return f"No {name}: --no-swi."
    if name.startswith("convergence") and record.settings.get("qsm_method") == "two-step":
        return f"No {name}: that is drawn for TGV-QSM only."
    if name.startswith("R2*") and len(record.echo_times) == 1:
        return f"No {name}: it needs at least two echoes."
    return f"No {name}{' was written, because a step failed' if record.failed else ' was recorded'}."


def _highlights(record: Record, volumes: Volumes) -> list[tuple[str, str]]:
    chi, tgv = volumes.statistics.get("chi", {}), record.tgv
    iterations = number(tgv.get("iterations"))
    settled = " (not converged)" if tgv.get("converged") is False else ""
    values = (
        ("χ, 1st to 99th percentile", _interval(chi.get("low"), chi.get("high"), "ppm")),
        ("Mask", _amount(record.mask.get("volume_ml"), "ml", 4)),
        ("Unreliable phase", _percent(record.mask.get("hole_fraction"))),
        ("Field error, median", _amount(record.field.get("noise_median_hz"), "Hz")),
        ("Iterations", f"{iterations:.0f}{settled}" if iterations else ""),
        ("All steps", show_duration(sum(record.timings.values())) if record.timings else ""),
    )
    return [(name, value) for name, value in values if value]


def _input_facts(record: Record) -> list[tuple[str, str]]:
    inputs = record.inputs
    times = [f"{1000 * time:.4g}" for time in record.echo_times]
    bipolar = inputs.get("bipolar")
    facts = (
        ("Echo times", f"{', '.join(times)} ms" if times else ""),
        ("Field strength", _amount(inputs.get("field_strength"), "T")),
        ("Voxel size", _product(inputs.get("voxel_size"), "mm")),
        ("Matrix", _product(inputs.get("shape"), "", 4)),
        ("Tilt of the slices", _amount(inputs.get("obliquity_degrees"), "°").replace(" °", "°")),
        (
            "B0 direction in voxel axes",
            ", ".join(show_number(v) for v in numbers(inputs.get("b0_direction"))),
        ),
        (
            "Readout",
            {True: "bipolar", False: "monopolar"}.get(bipolar, "") if isinstance(bipolar, bool) else "",
        ),
        ("Coil combination", text(mapping(inputs.get("sidecar")).get("CoilCombinationMethod"))),
        ("Preset", _preset(record)),
        ("Phase scaling", text(inputs.get("phase_scaling"))),
        ("Units of the phase", text(inputs.get("phase_units"))),
        ("Mask", text(record.mask.get("method"))),
        ("Mask threshold", _amount(record.mask.get("threshold"), "")),
        ("Trusted field", _percent(record.field.get("trusted_fraction"))),
        ("χ relative to", _reference(record)),
        ("Mean taken off χ", _amount(record.tgv.get("reference_value_ppm"), "ppm")),
    )
    return [(name, value) for name, value in facts if value]


def _reference(record: Record) -> str:
    """What chi is relative to, and how many voxels that are."""
    name, voxels = text(record.tgv.get("reference")), numbers([record.tgv.get("reference_voxels")])
    return f"{name}, {voxels[0]:.0f} voxels" if voxels and voxels[0] else name


def _preset(record: Record) -> str:
    """Name of the preset, and why it was chosen where nobody named it."""
    name, reason = text(record.settings.get("preset")), text(record.preset.get("reason"))
    return f"{name}, chosen because: {reason}" if reason else name


def _settings(record: Record) -> list[tuple[str, str]]:
    values = {**record.settings, "input files": sequence(record.inputs.get("files"))}
    return [(name.replace("_", " "), _setting(value)) for name, value in values.items()]


def _setting(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(_setting(item) for item in value)
    return ("no", "yes")[value] if isinstance(value, bool) else text(value)


def _steps(record: Record) -> list[Step]:
    names = list(dict.fromkeys([*record.timings, *record.memory_mb]))
    longest = max(record.timings.values(), default=0.0) or 1.0
    return [
        Step(
            name,
            record.timings.get(name),
            record.memory_mb.get(name),
            record.timings.get(name, 0.0) / longest,
        )
        for name in names
    ]


def _versions(acquisitions: Sequence[Acquisition]) -> list[tuple[str, str]]:
    pairs = {(name, text(value)) for item in acquisitions for name, value in item.record.software.items()}
    return sorted(pairs)


def _amount(value: object, unit: str, digits: int = 3) -> str:
    return f"{show_number(value, digits)} {unit}".strip() if number(value) is not None else ""


def _percent(value: object) -> str:
    known = number(value)
    return f"{100 * known:.1f} %" if known is not None else ""


def _interval(low: float | None, high: float | None, unit: str) -> str:
    if low is None or high is None:
        return ""
    return f"{show_number(low, 2)} to {show_number(high, 2)} {unit}"


def _product(value: object, unit: str, digits: int = 3) -> str:
    return f"{show_product(numbers(value), digits)} {unit}".strip() if numbers(value) else ""
