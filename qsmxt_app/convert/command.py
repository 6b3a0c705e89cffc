"""The conversion of a folder as a whole: what is in it, one run at a time, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qsmxt_app.bids.atomic import make_folder
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.bids.lock import named_lock
from qsmxt_app.convert.conversion_cache import fingerprint, load_outcome, save_outcome
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dataset import Written, prepare_dataset, write_dataset
from qsmxt_app.convert.detect import Input
from qsmxt_app.convert.dicom import convert_dicom, preview_dicom
from qsmxt_app.convert.dicom.find import UNPACK
from qsmxt_app.convert.nifti.conversion import convert_nifti, preview_nifti
from qsmxt_app.errors import CannotCreateOutput, UnusableData
from qsmxt_app.settings import Settings
from qsmxt_app.terminal import named

SOURCEDATA = "sourcedata"
DICOM_TABLE, NIFTI_TABLE = "conversion", "nifti_conversion"
MAXIMUM_LINES = 3
"""Lines that a message repeats; the table has all."""
_LOCK = "conversion"
_CACHE = ".finished.json"


class Conversion(Protocol):
    """What the conversion of DICOM and of NIfTI files has in common."""

    @property
    def images(self) -> Sequence[ConvertedImage]:
        """Ready to be named."""

    @property
    def failures(self) -> Sequence[str]:
        """One line for each thing that was to be converted and could not be."""

    @property
    def reasons(self) -> Sequence[str]:
        """Why no susceptibility map can be made, if none can."""

    @property
    def notes(self) -> Sequence[str]:
        """Messages for the user."""

    def record(self, written: Written) -> None:
        """Write into the review table what everything became."""


@dataclass(frozen=True)
class ConversionOutcome:
    """How a conversion ended.

    Attributes
    ----------
    raw
        The BIDS dataset.
    n_images, n_new
        Images of this conversion in the dataset, and how many of them are new.
    failures
        One line for each thing that is missing in the dataset.
    reasons
        Why no susceptibility map can be made, if none can.
    notes
        Messages for the user.
    """

    raw: Path
    n_images: int
    n_new: int
    failures: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def raw_folder(output: Path, settings: Settings) -> Path:
    """Where the BIDS dataset goes."""
    return (settings.raw_dir or output / SOURCEDATA / "raw").absolute()


def convert_folder(
    source: Path, found: Input, output: Path, settings: Settings, work_dir: Path, n_procs: int
) -> ConversionOutcome:
    """Convert a folder of DICOM or NIfTI files to a raw BIDS dataset, or complete one.

    Parameters
    ----------
    source
        The folder; it is only read.
    found
        What it holds, from `look_into`.
    output
        The output folder, where the review table goes.
    settings
        Those of conversion are read.
    work_dir
        For intermediate files, which hold what the sidecars of the dataset leave out.
    n_procs
        Processes to use.

    Raises
    ------
    UnusableData
        If a table has to be filled in, or nothing could be converted.
    CannotCreateOutput, InputOutputFailed
        If a folder cannot be written, or another run is converting.
    """
    raw = raw_folder(output, settings)
    cache_file = output / SOURCEDATA / _CACHE
    key = fingerprint(source, _settings_that_matter(settings, source, raw))
    make_folder(output / SOURCEDATA)
    make_folder(work_dir)
    with named_lock(output, _LOCK), named_lock(raw, _LOCK):
        if (known := load_outcome(cache_file, key, _tables(output))) is not None:
            return ConversionOutcome(
                raw, known["n_images"], 0, (), tuple(known["reasons"]), tuple(known["notes"])
            )
        prepare_dataset(raw)
        conversion = _convert(source, found, output, settings, work_dir, n_procs)
        written = write_dataset(conversion.images, raw, n_procs)
        conversion.record(written)
        outcome = _outcome(source, raw, conversion, written, _unread(found))
        if not outcome.failures:
            _save_outcome(cache_file, key, output, written, outcome)
    return outcome


def preview_folder(
    source: Path, found: Input, output: Path, settings: Settings, work_dir: Path, n_procs: int
) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of the review table as `convert_folder` would write them, and what it would not read.

    Nothing is written.

    Parameters
    ----------
    source, found, output, settings, work_dir, n_procs
        As for `convert_folder`.
    """
    tables = output / SOURCEDATA
    if found.kind == "nifti":
        return preview_nifti(source, found.nifti, tables / NIFTI_TABLE, settings), _unread(found)
    return preview_dicom(source, tables / DICOM_TABLE, work_dir, settings, n_procs)


def _save_outcome(
    cache_file: Path, key: str, output: Path, written: Written, outcome: ConversionOutcome
) -> None:
    images = [*written.files, *written.unchanged]
    sidecars = [sidecar_path(image) for image in images]
    plain = {"n_images": outcome.n_images, "reasons": outcome.reasons, "notes": outcome.notes}
    save_outcome(cache_file, key, [*images, *sidecars, *_tables(output)], plain)


def _tables(output: Path) -> list[Path]:
    """Everything that a user may edit, and what lies beside it."""
    return sorted((output / SOURCEDATA).glob("*conversion.*"))


def _settings_that_matter(settings: Settings, source: Path, raw: Path) -> dict[str, Any]:
    names = ("keep_incomplete", "subject_from", "nifti_pattern", "participant_label")
    table = settings.subject_map.read_bytes().hex() if settings.subject_map else ""
    return {name: getattr(settings, name) for name in names} | {
        "subject_map": table,
        "source": str(source.absolute()),
        "raw": str(raw),
    }


def _unread(found: Input) -> list[str]:
    """Name archives beside NIfTI files; what DICOM files lie beside, their conversion says."""
    return [f"not read: {named(found.packed, 'archive')}. {UNPACK}"] if found.packed else []


def _outcome(
    source: Path, raw: Path, conversion: Conversion, written: Written, unread: Sequence[str]
) -> ConversionOutcome:
    failures = (*conversion.failures, *written.refused)
    if not written.files and not written.unchanged:
        message = (
            _in_short(failures or conversion.reasons) or "no image in it is of a kind that is converted."
        )
        raise UnusableData(
            f"{source}: nothing could be converted: {message}", " ".join([*conversion.notes, *unread])
        )
    return ConversionOutcome(
        raw,
        len(written.files) + len(written.unchanged),
        len(written.files),
        failures,
        tuple(conversion.reasons),
        (*conversion.notes, *unread, *written.notes),
    )


def _convert(
    source: Path, found: Input, output: Path, settings: Settings, work_dir: Path, n_procs: int
) -> Conversion:
    tables = output / SOURCEDATA
    if found.kind == "nifti":
        return convert_nifti(source, found.nifti, tables / NIFTI_TABLE, work_dir, settings)
    return convert_dicom(source, tables / DICOM_TABLE, work_dir, settings, n_procs)


def _in_short(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - MAXIMUM_LINES} more"] if len(lines) > MAXIMUM_LINES else []
    return "; ".join([*lines[:MAXIMUM_LINES], *more])


def check_output_outside_source(source: Path, folders: Sequence[Path]) -> None:
    """Refuse to write into the source, which is only read.

    Raises
    ------
    CannotCreateOutput
        If one of the folders is the source, or lies inside.
    """
    for folder in folders:
        if folder.resolve().is_relative_to(source.resolve()):
            raise CannotCreateOutput(
                f"{folder}: lies inside {source}, which is only read.",
                "Choose a folder outside it.",
            )
