"""A folder of NIfTI files: gathered, completed by a table, and described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.bids.selection import select_labels
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dataset import Written
from qsmxt_app.convert.naming import group_key, legal_label
from qsmxt_app.convert.nifti.describe import describe
from qsmxt_app.convert.nifti.gather import gather
from qsmxt_app.convert.nifti.patterns import read_patterns
from qsmxt_app.convert.nifti.table import Row, Sheet, fill_in, table_rows, write_sheet
from qsmxt_app.convert.nifti.table_cells import check_subjects
from qsmxt_app.errors import UnusableData
from qsmxt_app.settings import Settings
from qsmxt_app.terminal import counted


@dataclass(frozen=True, eq=False)
class NiftiConversion:
    """What a folder of NIfTI files gave.

    Attributes
    ----------
    images
        Ready to be named.
    failures
        One line for each file or scan that could not be used.
    reasons
        Why there may be no susceptibility map to be made.
    notes
        Messages for the user.
    sheet, remarks
        The table, and what it says of each file.
    """

    images: Sequence[ConvertedImage]
    failures: Sequence[str]
    reasons: Sequence[str]
    notes: Sequence[str]
    sheet: Sheet
    remarks: dict[str, str]

    def record(self, written: Written) -> None:
        """Write into the table what each file became."""
        became: dict[str, list[str]] = {}
        files = {row.file.name for row in self.sheet.rows}
        for image, target in zip(self.images, written.targets, strict=True):
            if target is not None:
                name = image.origin if image.origin in files else image.origin.rpartition(" volume ")[0]
                became.setdefault(name, []).append(target.name)
        remarks = dict(self.remarks)
        for name, targets in became.items():
            what = targets[0] if len(targets) == 1 else f"{targets[0]} to {targets[-1]}"
            remarks[name] = "; ".join(filter(None, [what, self.remarks.get(name, "")]))
        write_sheet(self.sheet, remarks)


def convert_nifti(
    source: Path, paths: Sequence[Path], table_stem: Path, work_dir: Path, settings: Settings
) -> NiftiConversion:
    """Make images that can be named of NIfTI files, or a table to fill in.

    Parameters
    ----------
    source
        The folder that is converted; it is only read.
    paths
        The NIfTI files in it.
    table_stem
        Path of the table, without its extension.
    work_dir
        Where volumes of 4D files are written.
    settings
        ``nifti_pattern`` and ``subject_from`` are read.

    Raises
    ------
    UnusableData
        If cells that are needed are empty, naming the table; or if subjects would be merged.
    """
    files = gather(paths, source, read_patterns(settings.nifti_pattern), settings.subject_from)
    sheet = fill_in(files, table_stem)
    selected = select_rows(sheet.rows, settings.participant_label)
    lacking = [row for row in selected if row.missing]
    if lacking:
        path = write_sheet(sheet, {})
        names = ", ".join(dict.fromkeys(name for row in lacking for name in row.missing))
        raise UnusableData(
            f"{path}: {names} could not be determined for {len(lacking)} of {len(sheet.rows)} NIfTI files.",
            "Fill in the cells marked with ?, save it as .tsv, .csv or .xlsx, and run the same command again "
            "(or describe the paths with --nifti-pattern).",
        )
    try:
        check_subjects(selected)
    except UnusableData as error:
        path = write_sheet(sheet, {})
        raise UnusableData(f"{path}: {error.message}", error.hint) from error
    # a work folder may be shared with other outputs
    own = work_dir / group_key(str(table_stem.absolute()))
    outcome = describe([row for row in selected if not row.ignored], own)
    ignored = sum(row.ignored for row in sheet.rows)
    others = [row.file.name for row in sheet.rows if row not in selected]
    notes = [f"{len(files)} NIfTI files: {sheet.path} lists the result for each."]
    if ignored:
        notes.append(f"{counted(ignored, 'file')} left out (suffix ignore).")
    remarks = outcome.notes | {row.file.name: "left out" for row in sheet.rows if row.ignored}
    remarks |= dict.fromkeys(others, "not selected by --participant-label")
    return NiftiConversion(
        tuple(outcome.images), outcome.failures, _reasons(outcome.images), notes, sheet, remarks
    )


def select_rows(rows: Sequence[Row], participants: Sequence[str]) -> list[Row]:
    """Rows of the participants asked for, and those of which the participant is not known.

    Raises
    ------
    NothingSelected
        If a participant is not among them.
    """
    if not participants:
        return list(rows)
    labels = {row.file.name: legal_label(row.cells.get("subject", "").removeprefix("sub-")) for row in rows}
    wanted = {"", *select_labels("sub", participants, sorted(set(labels.values()) - {""}))}
    return [row for row in rows if labels[row.file.name] in wanted]


def preview_nifti(
    source: Path, paths: Sequence[Path], table_stem: Path, settings: Settings
) -> list[dict[str, str]]:
    """Rows of the table as a conversion would write them; nothing is converted or written."""
    files = gather(paths, source, read_patterns(settings.nifti_pattern), settings.subject_from)
    return table_rows(fill_in(files, table_stem), {})


def _reasons(images: Sequence[ConvertedImage]) -> list[str]:
    echoes = [image for image in images if image.suffix in {"MEGRE", "T2starw"}]
    if not echoes:
        return ["none of the NIfTI files is a gradient echo (suffix MEGRE or T2starw)"]
    if all(image.part == "mag" for image in echoes):
        return ["the gradient echoes have magnitude only, no phase"]
    return []
