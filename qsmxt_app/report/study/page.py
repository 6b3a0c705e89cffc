"""`group.html`: template, regional values and quality of all scans, and missing participants, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsmxt_app import __version__
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.dataset import participant_labels
from qsmxt_app.errors import NoInput
from qsmxt_app.group.outliers import FEWEST, LIMIT
from qsmxt_app.records import group
from qsmxt_app.records.group import GroupRecord, read_group_record
from qsmxt_app.records.open_values import words
from qsmxt_app.records.quality import Measure
from qsmxt_app.report import page_script
from qsmxt_app.report.findings import LEVELS, Finding
from qsmxt_app.report.rendering import render, show_duration, show_memory, show_number, show_product
from qsmxt_app.report.study.change import read_changes
from qsmxt_app.report.study.panels import change_panel, template_panel
from qsmxt_app.report.study.quality import quality_table, similarities
from qsmxt_app.report.study.statistics import HEAD, statistics_section
from qsmxt_app.report.study.strips import COLOURS, MOST_DOTS, StripChart, strip_chart
from qsmxt_app.report.study.values import (
    ALL,
    MOST_OUTLIERS,
    MapSummary,
    Outlier,
    SideSummary,
    outliers,
    read_values,
    summarise,
    tested_regions,
)
from qsmxt_app.report.study.verdict import count_scans, review_findings, study_verdict
from qsmxt_app.report.study.voxelwise import voxelwise_section

SCRIPT = "group_table.js"
CHANGES = "group_desc-change_stats.tsv"

SECTIONS = (
    ("statistics", "Statistics"),
    ("voxelwise", "Voxels"),
    ("values", "Regional values"),
    ("change", "Change"),
    ("template", "Template"),
    ("outliers", "Outliers"),
    ("quality", "Quality"),
    ("missing", "Left out"),
)
TABLES = {
    "group_stats.csv": "regional values",
    "group_stats_wide.csv": "the same, one column a region",
    CHANGES: "change between sessions",
    "group_desc-model_stats.tsv": "estimates of the model",
    "group_desc-voxelwise_clusters.tsv": "clusters of voxels",
}


@dataclass(frozen=True)
class MissingScan:
    """A scan, or participant, that takes no part."""

    name: str
    link: str
    reason: str
    log: str


@dataclass(frozen=True)
class MapOnPage:
    """The regional values of one map: a chart of each kind of region, and numbers."""

    summary: MapSummary
    charts: Sequence[tuple[str, StripChart]]
    rows: Sequence[SideSummary]


@dataclass(frozen=True)
class LinkedOutlier:
    """An outlier, and the page of its participant."""

    outlier: Outlier
    link: str


def build_group_report(output_dir: Path) -> Path:
    """Write the page of the group from what is on disk.

    Parameters
    ----------
    output_dir
        The derivative dataset.

    Returns
    -------
    pathlib.Path
        `OUTPUT_DIR/group.html`. It needs no other file and no network.

    Raises
    ------
    NoInput
        The group level has not been run there.
    """
    record = read_group_record(output_dir)
    if record is None:
        raise NoInput(f"{output_dir} holds no results of the group level.", "Run the group level first.")
    values = read_values(output_dir / "group_stats.csv", record.group_by)
    found = outliers(values)
    panels = [panel for panel in (template_panel(output_dir, record), change_panel(record)) if panel]
    groups = sorted({value.group for value in values})
    maps = [_map(summary, groups) for summary in summarise(values)]
    changes = read_changes(output_dir / CHANGES, record.groups) if "change" in record.outputs else None
    missing = [_missing(output_dir, one) for one in record.missing]
    alike = similarities(record)
    participants = participant_labels(output_dir)
    quality = quality_table(output_dir, participants, alike)
    counts = count_scans(output_dir, record, participants)
    told = [*_findings(record), *_unlike(alike), *review_findings(counts)]
    findings = sorted(told, key=lambda one: LEVELS.index(one.level))
    shown = {
        "missing": missing,
        "template": panels,
        "statistics": record.model,
        "voxelwise": record.voxelwise,
        "values": maps,
        "change": changes,
        "outliers": maps,
        "quality": quality.rows and quality.head,
    }
    page = render(
        "group.html",
        verdict=study_verdict(findings),
        counts=counts,
        tables=[(name, words) for name, words in TABLES.items() if (output_dir / name).is_file()],
        contents=[(anchor, words) for anchor, words in SECTIONS if shown[anchor]],
        links=_links(output_dir),
        highlights=_highlights(record),
        findings=findings,
        missing=missing,
        name=record.template.name if record.template else "",
        panels=panels,
        statistics=statistics_section(output_dir, record.model),
        statistics_head=HEAD,
        voxelwise=voxelwise_section(output_dir, record),
        maps=maps,
        changes=changes,
        change_maps=[_map(one, changes.groups) for one in changes.summaries] if changes else [],
        group_by=record.group_by,
        most_dots=MOST_DOTS,
        colours=COLOURS,
        groups=groups if groups != [ALL] else (),
        outliers=[LinkedOutlier(one, _page(output_dir, one.participant)) for one in found[:MOST_OUTLIERS]],
        further=max(0, len(found) - MOST_OUTLIERS),
        limit=LIMIT,
        tested=tested_regions(values),
        fewest=FEWEST,
        quality=quality,
        command=record.command,
        facts=_facts(record),
        version=__version__,
        scripts=page_script.policy((), SCRIPT),
        script=page_script.code(SCRIPT),
    )
    path = output_dir / "group.html"
    write_text(path, page)
    return path


def _map(summary: MapSummary, groups: Sequence[str]) -> MapOnPage:
    charts = [(kind, strip_chart(found, groups, summary.units)) for kind, found in summary.kinds.items()]
    rows = [side for found in summary.kinds.values() for region in found for side in region.sides]
    return MapOnPage(summary, charts, rows)


def _findings(record: GroupRecord) -> list[Finding]:
    found = [
        Finding(
            "error",
            f"A step failed: {one.step.replace('_', ' ')}",
            one.message,
            record.log,
        )
        for one in record.failures
    ]
    count = len(record.missing)
    if count:
        found.append(
            Finding(
                "warning",
                f"{count} scan{'s' * (count > 1)} or participant{'s are' if count > 1 else ' is'} left out",
                "They are named below, with the reason. All averages and tables are without them.",
            )
        )
    found += [
        Finding(
            "warning",
            f"Not the same in all scans: {one.what}",
            f"{one.who}. Their values cannot be compared as they are: run the participant level "
            "again in one way, or take these scans apart.",
        )
        for one in record.inconsistent_settings
    ]
    template = record.template
    if template and len(template.participants) == 1:
        found.append(
            Finding(
                "warning",
                "The template is one participant",
                "Nothing could be averaged: it is the image of that participant, and its standard deviation "
                "is 0. Add participants before it is used as a template.",
            )
        )
    if template and template.ended.endswith("as requested") and template.rounds:
        found.append(
            Finding(
                "note",
                "The template was still changing in its last round",
                "More rounds (--template-rounds) would make it a little sharper.",
            )
        )
    return found


def _unlike(alike: Mapping[str, Measure]) -> list[Finding]:
    """Warn of scans that are poorly aligned with the template."""
    return [
        Finding(
            "warning",
            f"{scan} is poorly aligned with the template",
            f"Its magnitude correlates with the template by {show_number(measure.value)} only. Look at its "
            "map in the template: where the registration failed, leave it out (--participant-label).",
        )
        for scan, measure in alike.items()
        if measure.state == "bad"
    ]


def _highlights(record: GroupRecord) -> list[tuple[str, str]]:
    template = record.template
    if template is None:
        return []
    people, rounds = template.participants, template.rounds
    last = rounds[-1].change if rounds else None
    pairs = (
        ("Participants in the template", str(len(people)) if people else ""),
        ("Scans in it", str(sum(map(len, people.values()))) if people else ""),
        ("Voxels of the template", f"{show_product(template.voxel_size)} mm" if template.voxel_size else ""),
        ("Deformable rounds", str(len(rounds)) if rounds else ""),
        ("Change in the last round", show_number(last, 2) if last is not None else ""),
    )
    return [(name, value) for name, value in pairs if value]


def _facts(record: GroupRecord) -> list[tuple[str, str]]:
    facts = [("rounds ended because", record.template.ended)] if record.template else []
    facts += [
        (f"{name}: time, memory", f"{show_duration(seconds)}, {show_memory(record.memory_mb.get(name))}")
        for name, seconds in record.timings.items()
    ]
    facts += [(name.replace("_", " "), words(value)) for name, value in record.settings.items()]
    facts += [(f"version of {name}", value) for name, value in record.software.items()]
    return [(name, value) for name, value in facts if value]


def _missing(output_dir: Path, one: group.MissingScan) -> MissingScan:
    participant = f"sub-{one.participant}"
    return MissingScan(one.scan or participant, _page(output_dir, participant), one.reason, one.log)


def _links(output_dir: Path) -> list[tuple[str, str]]:
    pages = (("All participants", "index.html"), ("Methods and references", "logs/CITATION.html"))
    return [(label, page) for label, page in pages if (output_dir / page).is_file()]


def _page(output_dir: Path, participant: str) -> str:
    name = f"{participant}.html"
    return quote(name) if "/" not in name and (output_dir / name).is_file() else ""
