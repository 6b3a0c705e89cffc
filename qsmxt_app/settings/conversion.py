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
        "where the BIDS dataset made of them goes (default: OUTPUT_DIR/sourcedata/raw)",
        metavar="DIR",
    )
    convert_only: bool = setting(False, "stop after the conversion")
    keep_incomplete: bool = setting(
        False, "also convert series of which slices are missing, as far as possible"
    )
    subject_from: str = setting(
        "PatientID",
        "what a person's label is made from",
        choices=("PatientID", "PatientName"),
    )
    subject_map: Path | None = setting(
        None, "table that says which label a person and a study get", kind="file"
    )
    nifti_pattern: tuple[str, ...] = setting(
        (),
        "where the path of a NIfTI file tells an entity: subject='P(\\d+)', part, echo_time, ...",
        metavar="ENTITY=REGEX",
    )
