"""How scanner files become a BIDS dataset."""

# ruff: noqa: RUF009 (dataclasses.field is what `setting` returns)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.settings.declaration import declared_in

setting = declared_in("Conversion, where BIDS_DIR holds DICOM or NIfTI files instead of a BIDS dataset")


@dataclass(frozen=True)
class ConversionSettings:
    """How scanner files become a BIDS dataset."""

    raw_dir: Path | None = setting(
        None,
        "output folder of the converted BIDS dataset (default: OUTPUT_DIR/sourcedata/raw)",
        metavar="DIR",
    )
    convert_only: bool = setting(False, "stop after the conversion")
    keep_incomplete: bool = setting(False, "also convert series with missing slices, as far as possible")
    subject_from: str = setting(
        "PatientID",
        "DICOM attribute that participant labels are derived from",
        choices=("PatientID", "PatientName"),
    )
    subject_map: Path | None = setting(
        None, "table that assigns participant and session labels to DICOM patients and studies", kind="file"
    )
    nifti_pattern: tuple[str, ...] = setting(
        (),
        "regular expressions that read entities from the paths of NIfTI files, "
        "for example subject='P(\\d+)'; also part, echo_time, ...",
        metavar="ENTITY=REGEX",
    )
