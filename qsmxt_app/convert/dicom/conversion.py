"""A folder of DICOM files as a whole: find, sort, review, join, convert, and account for every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qsmxt_app.bids.entities import build_name
from qsmxt_app.bids.selection import select_labels
from qsmxt_app.convert.converted_image import ConvertedImage, Part
from qsmxt_app.convert.dataset import Written
from qsmxt_app.convert.dicom.channels import name_channels
from qsmxt_app.convert.dicom.classify import SeriesType, classify, same_protocol
from qsmxt_app.convert.dicom.completeness import compare_counts, missing_by_stack
from qsmxt_app.convert.dicom.execute import Failure, run_plan
from qsmxt_app.convert.dicom.find import UNPACK, Found, LeftOut, find_dicom
from qsmxt_app.convert.dicom.group_acquisitions import (
    Entry,
    GroupedSeries,
    PlannedAcquisition,
    group_acquisitions,
)
from qsmxt_app.convert.dicom.grouping import group_series
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
from qsmxt_app.convert.naming import name_images
from qsmxt_app.convert.table import write_table
from qsmxt_app.settings import Settings
from qsmxt_app.terminal import named

FILES_SUFFIX = "_files"
"""The list of all files is named after the review table."""
MISSING = "slices are missing"
Targets = Mapping[str, Sequence[tuple[ConvertedImage, str]]]
_PARTS = {"magnitude": "mag", "phase": "phase"}
_PLANNED_PARTS: Mapping[str, Part] = {
    "magnitude": "mag",
    "real": "mag",
    "phase": "phase",
    "imaginary": "phase",
}
_ADVICE = {
    "archive": UNPACK,
    "NIfTI file": "Convert NIfTI files from a folder of their own",
    "damaged file": "Copy or export them again",
}
_FEW = 3


@dataclass(frozen=True)
class DicomConversion:
    """What became of a folder of DICOM files.

    Attributes
    ----------
    images
        Ready to be named.
    failures
        One line for each thing that was to be converted and could not be.
    reasons
        Why no susceptibility map can be made, if none can.
    notes
        Messages for the user.
    """

    images: tuple[ConvertedImage, ...]
    failures: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    source: Path
    sorted_series: SortedSeries
    failed: Mapping[str, str]

    def record(self, written: Written) -> None:
        """Write into the review table what each series became, and into the list what each file became."""
        targets: dict[str, list[tuple[ConvertedImage, str]]] = {}
        for image, target in zip(self.images, written.targets, strict=True):
            if target is not None:
                targets.setdefault(image.group, []).append((image, target.name))
        self.sorted_series.write(self.source, targets, self.failed, finished=True)


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
                found[one.key] = CONVERTED, " ".join(names), f"{why}; not used: {note}" if note else why
        return found

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


def convert_dicom(
    source: Path, table_stem: Path, work_dir: Path, settings: Settings, n_procs: int
) -> DicomConversion:
    """Convert a folder of DICOM files to images that are ready to be named.

    Parameters
    ----------
    source
        Any tree; only read.
    table_stem
        Path of the review table without its extension.
    work_dir
        For intermediate files.
    settings
        `subject_from`, `subject_map`, `keep_incomplete` and `raw_dir` are read.
    n_procs
        Processes and threads to use.

    Raises
    ------
    WrongUsage, UnusableData
        If the subject map or the review table cannot be understood.
    """
    found = _find(source, table_stem, work_dir, settings, n_procs)
    ready = sort_series(found, table_stem, settings)
    ready[0].write(source, {}, {}, finished=False)
    images, failures = run_plan(ready[0].grouped.plan, work_dir, n_procs)
    return _conversion(source, found, ready[0], ready[1], images, failures)


def preview_dicom(
    source: Path, table_stem: Path, work_dir: Path, settings: Settings, n_procs: int
) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of the review table as a conversion would write them, and what it would not read.

    Nothing is converted or written.
    """
    ready, _ = sort_series(_find(source, table_stem, work_dir, settings, n_procs), table_stem, settings)
    images = [image for acquisition in ready.grouped.plan for image in _planned_images(acquisition)]
    targets: dict[str, list[tuple[ConvertedImage, str]]] = {}
    for image, entities in zip(images, name_images(images), strict=True):
        name = build_name(entities, image.suffix, ".nii.gz")
        targets.setdefault(image.group, []).append((image, name))
    outcomes = ready.outcomes(targets, {}, finished=False)
    return rows_of(ready.series, ready.types, ready.review, outcomes.__getitem__), _unread_notes(ready)


def _planned_images(acquisition: PlannedAcquisition) -> list[ConvertedImage]:
    """Images that an acquisition becomes, with what their names are made of."""
    found = {}
    for member in acquisition.members:
        part = _PLANNED_PARTS.get(member.component) if member.suffix in {"MEGRE", "T2starw"} else None
        found[member.suffix, member.echo, part] = ConvertedImage(
            path=Path(),
            sidecar={},
            subject=acquisition.subject,
            session=acquisition.session,
            suffix=member.suffix,
            group=acquisition.key,
            origin=member.series.key,
            acquisition=acquisition.acquisition,
            reconstruction=acquisition.reconstruction,
            echo=member.echo,
            part=part,
            acquired=acquisition.acquired,
            run=acquisition.run,
        )
    return list(found.values())


def _find(source: Path, table_stem: Path, work_dir: Path, settings: Settings, n_procs: int) -> Found:
    output = table_stem.parent.parent
    own = [table_stem.parent, work_dir, *([settings.raw_dir] if settings.raw_dir else [])]
    if not source.absolute().is_relative_to(output.absolute()):
        own.append(output)
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("reading headers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return find_dicom(source, n_procs=n_procs, leave_alone=own, progress=show)


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
    entries: list[Entry] = []
    without: dict[str, str] = {}
    described = {one.key: entry_of(one, types[one.key], visits[one.key], review) for one in series}
    subjects = sorted({entry.subject for entry in described.values() if entry})
    wanted = select_labels("sub", settings.participant_label, subjects)
    for one in series:
        entry = described[one.key]
        if entry is None:
            without[one.key] = "left out in this table"
        elif entry.role not in USED_ROLES:
            without[one.key] = f"{entry.role}: {types[one.key].reason}"
        elif entry.subject not in wanted:
            without[one.key] = "not selected by --participant-label"
        elif one.incomplete and not settings.keep_incomplete:
            complete = _complete_echoes(entry)
            if complete is None:
                without[one.key] = f"{MISSING}: {one.incomplete}"
            else:
                entries.append(complete)
        else:
            entries.append(entry)
    grouped = _without_unpaired_phase(
        group_acquisitions(entries), [one for one in series if one.key in without], without
    )
    without |= {key: reason for key, reason in grouped.left_out.items() if key not in without}
    everything = SortedSeries(
        series, found.left_out + duplicates, types, review, grouped, without, settings.keep_incomplete
    )
    return everything, labels


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


def _conversion(
    source: Path,
    found: Found,
    ready: SortedSeries,
    labels: Labels,
    images: Sequence[ConvertedImage],
    failures: Sequence[Failure],
) -> DicomConversion:
    incomplete = [one for one in ready.series if one.incomplete and not ready.keeps_incomplete]
    lines = [
        f"series {one.key} ({one.scan.description or 'without a name'}): {one.incomplete}. "
        f"{_what_was_left_out(one, ready)} left out; --keep-incomplete converts it with empty slices."
        for one in incomplete
        if ready.types[one.key].role in USED_ROLES
        and not ready.without.get(one.key, MISSING).startswith("not ")
    ]
    lines += [failure.reason for failure in failures]
    return DicomConversion(
        images=tuple(images),
        failures=tuple(lines),
        reasons=tuple(_why_no_maps(ready)),
        notes=(*labels.notes, *_notes(source, found, ready, images)),
        source=source,
        sorted_series=ready,
        failed={failure.acquisition.key: failure.reason for failure in failures},
    )


def _what_was_left_out(one: Series, ready: SortedSeries) -> str:
    if one.key in ready.without:
        return "It was"
    times = {stack.echo_time for stack, gap in zip(one.stacks, missing_by_stack(one), strict=True) if gap}
    shown = ", ".join(f"{1000 * (time or 0):g}" for time in sorted(times, key=lambda time: time or 0))
    return f"The echo at {shown} ms was"


def _why_no_maps(ready: SortedSeries) -> list[str]:
    """Say what is missing, if no acquisition has the phase of its echoes."""
    parts = {
        member.component
        for acquisition in ready.grouped.plan
        for member in acquisition.members
        if member.suffix in {"MEGRE", "T2starw"}
    }
    if parts & {"phase", "real"}:
        return []
    differences = [one for one in ready.series if ready.types[one.key].role == "phase-difference"]
    reasons = [
        f"series {one.key} ({one.scan.description}) is a phase difference, one image for two echoes: "
        "it is not the phase of each echo, so no susceptibility map can be made of it"
        for one in differences[:_FEW]
    ]
    if "magnitude" in parts:
        unread = "; ".join(_unread(ready))
        what = f"look into what was not read first ({unread})" if unread else "let the scanner save it too"
        reasons.append(f"gradient-echo magnitudes were found, but no phase of their echoes: {what}")
    reasons += [
        f"series {one.key} ({one.scan.description}) was left out: {ready.without[one.key]}"
        for one in ready.series
        if one.key in ready.without and ready.types[one.key].role == "gradient-echo"
    ][:_FEW]
    return reasons or ["no gradient echo with phase images is among the series"]


def _unread(ready: SortedSeries) -> dict[str, str]:
    """What may hold images and was not read: what to do with it, by its names."""
    files: dict[str, list[str]] = {}
    for one in ready.left_out:
        if one.unread:
            files.setdefault(one.unread, []).append(one.path.name)
    return {named(names, kind): _ADVICE[kind] for kind, names in files.items()}


def _unread_notes(ready: SortedSeries) -> list[str]:
    return [f"not read: {names}. {advice}" for names, advice in _unread(ready).items()]


def _notes(source: Path, found: Found, ready: SortedSeries, images: Sequence[ConvertedImage]) -> list[str]:
    used = len(ready.used_files())
    total = len(found.headers) + len(found.left_out)
    table = f"{ready.review.stem}.tsv"
    notes = [
        f"{source}: {total} files: {used} converted, {total - used} left out; "
        f"{table} lists the result for each series, {ready.review.stem.name}{FILES_SUFFIX}.tsv for each file"
    ]
    notes += _unread_notes(ready)
    notes += [
        f"series {one.key} ({one.scan.description}): not used: {ready.grouped.unpaired[one.key]}. "
        "Add the missing files and run the same command again."
        for one in ready.series
        if one.key in ready.grouped.unpaired
    ]
    if any(image.suffix in {"T1w", "UNIT1"} for image in images):
        notes.append("T1w images show faces: remove them before the dataset is shared")
    return notes


def _comes_from(image: ConvertedImage, acquisition: PlannedAcquisition, series: str) -> bool:
    """Whether an image of an acquisition was made of a series."""
    return any(
        (member.suffix, member.echo) == (image.suffix, image.echo)
        and (image.part is None or _PARTS.get(member.component, image.part) == image.part)
        for member in acquisition.members
        if member.series.key == series
    )
