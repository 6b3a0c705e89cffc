"""A folder of DICOM files as a whole: find, sort, review, join, convert, and account for every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qsmxt_app.bids.entities import build_name
from qsmxt_app.convert.converted_image import ConvertedImage, Part
from qsmxt_app.convert.dataset import Written
from qsmxt_app.convert.dicom.conversion_messages import (
    NO_MAP,
    conversion_notes,
    doubtful_headers,
    incomplete_series,
    unread_notes,
    why_no_maps,
)
from qsmxt_app.convert.dicom.execute import Failure, run_plan
from qsmxt_app.convert.dicom.find import Found, find_dicom
from qsmxt_app.convert.dicom.planned_acquisition import PlannedAcquisition
from qsmxt_app.convert.dicom.review import rows_of
from qsmxt_app.convert.dicom.sorted_series import SortedSeries, sort_series
from qsmxt_app.convert.dicom.subject_labels import Labels
from qsmxt_app.convert.naming import name_images
from qsmxt_app.settings import Settings

_PLANNED_PARTS: Mapping[str, Part] = {
    "magnitude": "mag",
    "real": "mag",
    "phase": "phase",
    "imaginary": "phase",
}


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
    """Rows of the review table as a conversion would write them, and what it would say.

    Nothing is converted or written.
    """
    ready, labels = sort_series(_find(source, table_stem, work_dir, settings, n_procs), table_stem, settings)
    images = [image for acquisition in ready.grouped.plan for image in _planned_images(acquisition)]
    targets: dict[str, list[tuple[ConvertedImage, str]]] = {}
    for image, entities in zip(images, name_images(images), strict=True):
        name = build_name(entities, image.suffix, ".nii.gz")
        targets.setdefault(image.group, []).append((image, name))
    outcomes = ready.outcomes(targets, {}, finished=False)
    notes = [
        *labels.notes,
        *unread_notes(ready),
        *doubtful_headers(ready),
        *map(NO_MAP.format, why_no_maps(ready)),
    ]
    return rows_of(ready.series, ready.types, ready.review, outcomes.__getitem__), notes


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


def _conversion(
    source: Path,
    found: Found,
    ready: SortedSeries,
    labels: Labels,
    images: Sequence[ConvertedImage],
    failures: Sequence[Failure],
) -> DicomConversion:
    return DicomConversion(
        images=tuple(images),
        failures=(*incomplete_series(ready), *(failure.reason for failure in failures)),
        reasons=tuple(why_no_maps(ready)),
        notes=(*labels.notes, *conversion_notes(source, found, ready, images)),
        source=source,
        sorted_series=ready,
        failed={failure.acquisition.key: failure.reason for failure in failures},
    )
