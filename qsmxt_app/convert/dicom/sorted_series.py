"""What all series of a folder are, and what is to be made of them: known before the first is converted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qsmxt_app.bids.selection import select_labels
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dicom.channels import name_channels
from qsmxt_app.convert.dicom.classify import SeriesType, classify, same_protocol
from qsmxt_app.convert.dicom.completeness import compare_counts, missing_by_stack
from qsmxt_app.convert.dicom.find import Found, LeftOut
from qsmxt_app.convert.dicom.group_acquisitions import group_acquisitions
from qsmxt_app.convert.dicom.grouping import group_series
from qsmxt_app.convert.dicom.header_checks import header_doubts, header_problem
from qsmxt_app.convert.dicom.planned_acquisition import Entry, GroupedSeries, PlannedAcquisition
from qsmxt_app.convert.dicom.review import (
    CONVERTED,
    FAILED,
    LEFT_OUT,
    USED_ROLES,
    Review,
    computed_cells,
    entry_of,
    find_edits,
    read_review,
    rows_of,
    write_review,
)
from qsmxt_app.convert.dicom.series import Series
from qsmxt_app.convert.dicom.subject_labels import Labels, label_subjects, study_key
from qsmxt_app.convert.table import write_table
from qsmxt_app.settings import Settings

FILES_SUFFIX = "_files"
"""The list of all files is named after the review table."""
MISSING = "slices are missing"
Targets = Mapping[str, Sequence[tuple[ConvertedImage, str]]]
_PARTS = {"magnitude": "mag", "phase": "phase"}


@dataclass(frozen=True)
class SortedSeries:
    """Everything that is known before the first image is converted.

    Attributes
    ----------
    left_out
        Files that belong to no series.
    without
        By series, why it takes no part.
    """

    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]
    types: Mapping[str, SeriesType]
    review: Review
    grouped: GroupedSeries
    without: Mapping[str, str]
    keeps_incomplete: bool = False

    def outcomes(
        self, targets: Targets, failed: Mapping[str, str], *, finished: bool
    ) -> dict[str, tuple[str, str, str]]:
        """By series: status, what it became, why.

        Parameters
        ----------
        targets
            Images and their file names, by acquisition.
        failed
            Reasons by acquisition.
        finished
            Whether what has no target by now will never have one.
        """
        claims: dict[str, list[PlannedAcquisition]] = {}
        for acquisition in self.grouped.plan:
            for key in dict.fromkeys(member.series.key for member in acquisition.members):
                claims.setdefault(key, []).append(acquisition)
        found = {}
        for one in self.series:
            why = self.types[one.key].reason
            plan = claims.get(one.key, [])
            problems = [failed[acquisition.key] for acquisition in plan if acquisition.key in failed]
            names = [
                name
                for acquisition in plan
                for image, name in targets.get(acquisition.key, ())
                if _comes_from(image, acquisition, one.key)
            ]
            if not plan:
                found[one.key] = LEFT_OUT, "", self.without.get(one.key, why)
            elif problems:
                found[one.key] = FAILED, " ".join(names), "; ".join(problems)
            elif finished and not names:
                found[one.key] = FAILED, "", "it was not written: see the log"
            else:
                note = self.grouped.unpaired.get(one.key) or self.grouped.left_out.get(one.key)
                notes = [why, *([f"not used: {note}"] if note else []), *self.doubts(one)]
                found[one.key] = CONVERTED, " ".join(names), "; ".join(notes)
        return found

    def doubts(self, one: Series) -> tuple[str, ...]:
        """What the header of a converted gradient echo lacks or has wrong, in words."""
        used = self.types[one.key].role == "gradient-echo" and one.key not in self.without
        return tuple(header_doubts(one)) if used else ()

    def used_files(self) -> frozenset[Path]:
        """Files of which images are made."""
        members = (member for acquisition in self.grouped.plan for member in acquisition.members)
        return frozenset(path for member in members for path in member.stack.files)

    def write(self, source: Path, targets: Targets, failed: Mapping[str, str], *, finished: bool) -> None:
        """Write the review table and the list of files."""
        outcomes = self.outcomes(targets, failed, finished=finished)
        rows = rows_of(self.series, self.types, self.review, outcomes.__getitem__)
        table = write_review(self.review, rows)
        files = [
            {"file": str(one.path), "series": "", "status": LEFT_OUT, "reason": one.reason}
            for one in self.left_out
        ]
        used = self.used_files()
        for series in self.series:
            status, _, reason = outcomes[series.key]
            files += [
                {
                    "file": str(path),
                    "series": series.key,
                    "status": LEFT_OUT if status == CONVERTED and path not in used else status,
                    "reason": reason,
                }
                for path in series.files
            ]
        for row in files:
            path = Path(row["file"])
            row["file"] = str(path.relative_to(source)) if path.is_relative_to(source) else str(path)
        files.sort(key=lambda row: row["file"])
        write_table(
            table.with_name(f"{self.review.stem.name}{FILES_SUFFIX}.tsv"),
            ("file", "series", "status", "reason"),
            files,
        )


def sort_series(found: Found, table_stem: Path, settings: Settings) -> tuple[SortedSeries, Labels]:
    """Tell what all series are and what is to be made of them; nothing is converted or written yet."""
    review = read_review(table_stem)
    series, duplicates = group_series(found.headers)
    labels = label_subjects(
        (one.scan for one in series),
        review.saved_labels,
        subject_from=settings.subject_from,
        subject_map=settings.subject_map,
    )
    visits = {one.key: labels.visits[study_key(one.scan)] for one in series}
    types = classify(series)
    kinds = {key: series_type.role for key, series_type in types.items() if series_type.role in USED_ROLES}
    series = name_channels(compare_counts(series, kinds), kinds)
    find_edits(review, {one.key: computed_cells(one, types[one.key], visits[one.key]) for one in series})
    described = {one.key: entry_of(one, types[one.key], visits[one.key], review) for one in series}
    subjects = sorted({entry.subject for entry in described.values() if entry})
    wanted = select_labels("sub", settings.participant_label, subjects)
    chosen = {
        one.key: _taking_part(one, described[one.key], types[one.key].reason, wanted, settings)
        for one in series
    }
    entries = [one for one in chosen.values() if isinstance(one, Entry)]
    without = {key: reason for key, reason in chosen.items() if isinstance(reason, str)}
    grouped = _without_unpaired_phase(
        group_acquisitions(entries), [one for one in series if one.key in without], without
    )
    without |= {key: reason for key, reason in grouped.left_out.items() if key not in without}
    everything = SortedSeries(
        series, found.left_out + duplicates, types, review, grouped, without, settings.keep_incomplete
    )
    return everything, labels


def _taking_part(
    one: Series, entry: Entry | None, reason: str, wanted: Collection[str], settings: Settings
) -> Entry | str:
    """Return what of a series takes part, or why nothing does; the reason is that of its role."""
    if entry is None:
        return "left out in this table"
    if entry.role not in USED_ROLES:
        return f"{entry.role}: {reason}"
    if entry.subject not in wanted:
        return "not selected by --participant-label"
    if wrong := header_problem(one, gradient_echo=entry.role == "gradient-echo"):
        return wrong
    if one.incomplete and not settings.keep_incomplete:
        return _complete_echoes(entry) or f"{MISSING}: {one.incomplete}"
    return entry


def _complete_echoes(entry: Entry) -> Entry | None:
    """Leave out the images of a gradient echo of which slices are missing; None if no other is left."""
    missing = missing_by_stack(entry.series)
    if entry.role != "gradient-echo" or all(missing) or not any(missing):
        return None
    components = zip(entry.components, missing, strict=True)
    return replace(entry, components=tuple(None if reason else component for component, reason in components))


def _without_unpaired_phase(
    grouped: GroupedSeries, left_out: Sequence[Series], without: dict[str, str]
) -> GroupedSeries:
    """Leave out the phase of scans whose magnitude lacks slices: alone it is of no use."""
    incomplete = [one for one in left_out if one.incomplete and "magnitude" in one.components]
    plan = []
    for acquisition in grouped.plan:
        alone = {member.component for member in acquisition.members} == {"phase"}
        halves = {member.series.key: member.series for member in acquisition.members}
        lost = [two for one in halves.values() for two in incomplete if same_protocol(one, two)]
        if alone:
            why = "phase without magnitude"
            if lost:
                why = f"phase of series {lost[0].key}, of which slices are missing"
            without.update((key, why) for key in halves)
        else:
            plan.append(acquisition)
    return replace(grouped, plan=tuple(plan))


def _comes_from(image: ConvertedImage, acquisition: PlannedAcquisition, series: str) -> bool:
    """Whether an image of an acquisition was made of a series."""
    return any(
        (member.suffix, member.echo) == (image.suffix, image.echo)
        and (image.part is None or _PARTS.get(member.component, image.part) == image.part)
        for member in acquisition.members
        if member.series.key == series
    )
