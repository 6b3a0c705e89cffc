"""`sub-XX.html`: everything a person needs to judge the maps of one participant, in one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.errors import NoInput
from qsmxt_app.records.open_values import text, words
from qsmxt_app.records.quality import Measure
from qsmxt_app.records.scan import ScanRecord, read_records
from qsmxt_app.report import page_script
from qsmxt_app.report.embedding import voxels_per_scan
from qsmxt_app.report.findings import VERDICT_ORDER, Finding
from qsmxt_app.report.judgement import judge
from qsmxt_app.report.methods import Methods, cited, describe_methods
from qsmxt_app.report.panel import Panel, ScanPage
from qsmxt_app.report.panels import PANELS
from qsmxt_app.report.region_names import region_names
from qsmxt_app.report.rendering import render, show_duration, show_number, show_product
from qsmxt_app.report.sign import describe_sign
from qsmxt_app.report.step_words import step_words
from qsmxt_app.report.thumbnail import write_thumbnail
from qsmxt_app.report.viewer_section import Viewer, ViewerScan
from qsmxt_app.report.volumes import ON_COARSE, ON_T1W, Volumes, read_volumes

MOST_FINDINGS = 3
"""Findings that stand at the top of the page; all of them stand below."""


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
    record: ScanRecord
    level: str
    state: str
    findings: Sequence[Finding]
    worst: Sequence[Finding]
    more: int
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
    viewer = Viewer(scans) if scans else None
    page = render(
        "participant.html",
        title=f"sub-{label}",
        acquisitions=acquisitions,
        summary=_summary(acquisitions),
        viewer=viewer,
        references=cited(sentence for item in acquisitions for sentence in item.methods.sentences),
        software=_versions(acquisitions),
        version=__version__,
        scripts=page_script.policy(viewer.sources if viewer else ()),
        script=page_script.code(),
    )
    path = output_dir / f"sub-{label}.html"
    write_text(path, page)
    return path


def _acquisition(
    output_dir: Path, record: ScanRecord, volumes: Volumes, anatomy: Volumes, coarse: Volumes, index: int
) -> Acquisition:
    missing = (*volumes.missing, *anatomy.missing, *coarse.missing)
    judged = judge(output_dir, record, missing)
    serious = [finding for finding in judged.findings if finding.level != "note"]
    page = ScanPage(output_dir, record, volumes, anatomy, coarse)
    panels = [(one, one.make(page)) for one in PANELS]
    return Acquisition(
        anchor=f"acquisition-{index}",
        title=record.title,
        record=record,
        level=judged.level,
        state=judged.verdict,
        findings=judged.findings,
        worst=serious[:MOST_FINDINGS],
        more=len(judged.findings) - len(serious[:MOST_FINDINGS]),
        highlights=_highlights(record, volumes),
        quality=tuple(record.quality.values()),
        facts=_input_facts(output_dir, record),
        settings=_settings(record),
        panels=[panel for _, panel in panels if panel is not None],
        absent=[one.absence(record) for one, panel in panels if panel is None],
        steps=_steps(record),
        methods=describe_methods(record),
    )


def _summary(acquisitions: Sequence[Acquisition]) -> str:
    """Say in a sentence what was found, what became of it, and how long it took."""
    sessions = {item.record.entities.get("ses", "") for item in acquisitions} - {""}
    among = f" in {len(sessions)} sessions" if len(sessions) > 1 else ""
    verdicts = Counter(item.state for item in acquisitions)
    count = f"{len(acquisitions)} {'acquisitions' if len(acquisitions) != 1 else 'acquisition'}{among}"
    single = sum(len(item.record.inputs.echo_times) == 1 for item in acquisitions)
    states = [f"{verdicts[state]} {state}" for state in VERDICT_ORDER if verdicts[state]]
    if single:
        states.append(f"{single} qualitative, of a single echo")
    # what several scans share, such as the labels of a T1w, stands in the record of each
    steps = {step for item in acquisitions for step in item.record.all_timings.items()}
    seconds = sum(spent for _, spent in steps)
    return f"{count}: {', '.join(states)}.{f' All steps took {show_duration(seconds)}.' if seconds else ''}"


def _viewer_scan(output_dir: Path, record: ScanRecord, volumes: Volumes) -> ViewerScan:
    names = region_names(record.output(output_dir, "dseg"))
    segmentation = volumes.embedded.get("dseg")
    regions = (
        tuple(names.get(label, f"Region {label}") for label in segmentation.labels) if segmentation else ()
    )
    size = volumes.shrinking.voxel_size if volumes.shrinking else (1.0, 1.0, 1.0)
    return ViewerScan(record.title, volumes.embedded, regions, size)


def _highlights(record: ScanRecord, volumes: Volumes) -> list[tuple[str, str]]:
    chi, inversion = volumes.statistics.get("chi", {}), record.inversion
    stopped = " (not converged)" if inversion.converged is False else ""
    values = (
        ("χ, 1st to 99th percentile", _interval(chi.get("low"), chi.get("high"), "ppm")),
        ("Mask", _amount(record.mask.volume_ml, "ml", 4)),
        ("Unreliable phase", _percent(record.mask.hole_fraction)),
        ("Field error, median", _amount(record.field.noise_median_hz, "Hz")),
        ("Iterations", f"{inversion.iterations}{stopped}" if inversion.iterations else ""),
        ("Measures of quality", _good_measures(record)),
    )
    return [(name, value) for name, value in values if value]


def _good_measures(record: ScanRecord) -> str:
    states = [measure.state for measure in record.quality.values() if measure.state]
    return f"{states.count('good')} of {len(states)} good" if states else ""


def _input_facts(output_dir: Path, record: ScanRecord) -> list[tuple[str, str]]:
    inputs = record.inputs
    times = [f"{1000 * time:.4g}" for time in record.inputs.echo_times]
    facts = (
        ("Echo times", f"{', '.join(times)} ms" if times else ""),
        ("Field strength", _amount(inputs.field_strength, "T")),
        ("Voxel size", _product(inputs.voxel_size, "mm")),
        ("Matrix", _product(inputs.shape, "", 4)),
        ("Tilt of the slices", _amount(inputs.obliquity_degrees, "°").replace(" °", "°")),
        (
            "B0 direction in voxel axes",
            ", ".join(show_number(v) for v in inputs.b0_direction or ()),
        ),
        ("Readout", {True: "bipolar", False: "monopolar", None: ""}[inputs.bipolar]),
        ("Coil combination", text(inputs.sidecar.get("CoilCombinationMethod"))),
        ("Preset", _preset(record)),
        ("Phase scaling", inputs.phase_scaling),
        ("Units of the phase", inputs.phase_units),
        ("Sign of the map", describe_sign(output_dir, record)),
        ("Mask", record.mask.method),
        ("Mask threshold", _amount(record.mask.threshold, "")),
        ("Voxels with a reliable field", _percent(record.field.trusted_fraction)),
        ("χ relative to", _reference(record)),
        ("Mean subtracted from χ", _amount(record.reference.reference_value_ppm, "ppm")),
    )
    return [(name, value) for name, value in facts if value]


def _reference(record: ScanRecord) -> str:
    """What chi is relative to, and how many voxels that are."""
    name, voxels = record.reference.reference, record.reference.reference_voxels
    return f"{name}, {voxels} voxels" if voxels else name


def _preset(record: ScanRecord) -> str:
    """Name of the preset, and why it was chosen if it was not given."""
    name, reason = text(record.settings.get("preset")), record.preset.reason
    return f"{name}, chosen because: {reason}" if reason else name


def _settings(record: ScanRecord) -> list[tuple[str, str]]:
    values = {**record.settings, "input files": list(record.inputs.files)}
    return [(name.replace("_", " "), words(value, "\n")) for name, value in values.items()]


def _steps(record: ScanRecord) -> list[Step]:
    timings, memory = record.all_timings, record.all_memory_mb
    longest = max(timings.values(), default=0.0) or 1.0
    return [Step(step_words(name), time, memory.get(name), time / longest) for name, time in timings.items()]


def _versions(acquisitions: Sequence[Acquisition]) -> list[tuple[str, str]]:
    return sorted({pair for item in acquisitions for pair in item.record.software.items()})


def _amount(value: float | None, unit: str, digits: int = 3) -> str:
    return f"{show_number(value, digits)} {unit}".strip() if value is not None else ""


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f} %" if value is not None else ""


def _interval(low: float | None, high: float | None, unit: str) -> str:
    if low is None or high is None:
        return ""
    return f"{show_number(low, 2)} to {show_number(high, 2)} {unit}"


def _product(value: Sequence[float] | None, unit: str, digits: int = 3) -> str:
    return f"{show_product(value, digits)} {unit}".strip() if value else ""
