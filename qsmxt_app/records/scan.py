"""What is done with one scan, and what came out: written after its steps, read by reports and the group."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from qsmxt_app.bids.atomic import plain
from qsmxt_app.records.json_file import UnreadableRecord, from_json, read_json_file, to_json, write_record
from qsmxt_app.records.quality import Measure

VERSION = 2
MEASURED_LATER = ("checks", "quality")
"""Sections that are written with the report."""
RECORD_SUFFIX = "_desc-qsm_record.json"

_ENTITY_NAMES = {
    "ses": "session",
    "acq": "acquisition",
    "run": "run",
    "rec": "reconstruction",
    "dir": "direction",
    "inv": "inversion",
    "task": "task",
}


@dataclass(frozen=True)
class StepError:
    """A step that failed: its name, the message, and the log file (relative to the output folder)."""

    step: str
    message: str
    log: str = ""


@dataclass(frozen=True)
class Inputs:
    """What was known of a scan before any of its voxels was read, and how its phase was scaled.

    Attributes
    ----------
    files
        Relative to the raw dataset.
    echo_times
        s.
    field_strength
        T.
    voxel_size
        mm.
    b0_direction
        Unit vector in voxel axes.
    obliquity_degrees
        Angle between B0 and the voxel axis that is nearest to it.
    bipolar
        Whether the readout alternates: as the field was fitted, before that as planned.
    readout_told
        Whether the sidecar says how the readout alternates.
    sidecar
        What sidecars say that a paper must report; of any type.
    length_scale
        By what the voxel size was multiplied before anything was computed: 1 but for objects much smaller
        than a head.
    """

    files: tuple[str, ...] = ()
    echo_times: tuple[float, ...] = ()
    field_strength: float | None = None
    voxel_size: tuple[float, float, float] | None = None
    shape: tuple[int, int, int] | None = None
    b0_direction: tuple[float, float, float] | None = None
    obliquity_degrees: float | None = None
    phase_units: str = ""
    phase_scaling: str = ""
    suffix: str = ""
    bipolar: bool | None = None
    readout_told: bool = False
    sidecar: dict[str, Any] = dataclasses.field(default_factory=dict)
    length_scale: float = 1.0


@dataclass(frozen=True)
class PresetChoice:
    """The preset that was chosen for a scan, and why; empty where the user named one."""

    preset: str = ""
    reason: str = ""


STRIPPED = "extent of the magnitude, which was stripped before"
"""What made the mask where skull and scalp had been cut off."""


@dataclass(frozen=True)
class MaskResult:
    """How the mask was made, its volume, the share with unreliable phase, and the volume of the brain."""

    method: str = ""
    threshold: float | None = None
    volume_ml: float | None = None
    hole_fraction: float | None = None
    brain_ml: float | None = None


@dataclass(frozen=True)
class FieldResult:
    """How well the field is determined, and what was measured to check the input.

    Attributes
    ----------
    noise_median_hz
        Standard error of the field, median.
    known_fraction, trusted_fraction
        Share of the mask with a field, and share of that in which it is well determined.
    residual_median_rad
        Distance of the echoes' phase from the fit, median.
    """

    noise_median_hz: float | None = None
    known_fraction: float | None = None
    trusted_fraction: float | None = None
    residual_median_rad: float | None = None
    offsets_removed: bool | None = None
    open_fringes_mm: float | None = None
    echo_coherence: tuple[float | None, ...] = ()
    outline_correlation: float | None = None
    outline_contrast_ppm: float | None = None


@dataclass(frozen=True)
class BackgroundResult:
    """How the background field was removed."""

    background_iterations: int | None = None
    background_converged: bool | None = None
    local_field_volume_ml: float | None = None


@dataclass(frozen=True)
class History:
    """How a solver approached its solution: relative change of chi and residual by iteration."""

    iteration: tuple[int, ...] = ()
    chi_change: tuple[float | None, ...] = ()
    equation_residual: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class InversionResult:
    """How an inversion ended, and its volume; `skipped` says why a second pass was not needed."""

    iterations: int | None = None
    converged: bool | None = None
    noise_ppm: float | None = None
    inverted_ml: float | None = None
    history: History = dataclasses.field(default_factory=History)
    skipped: str = ""


@dataclass(frozen=True)
class OriginResult:
    """The map that was taken instead of a reconstruction, and what made it; empty where there was none.

    Attributes
    ----------
    file, program
        Its name, and what its dataset says that it was made by.
    units, units_known_by
        In which it was, and how that is known.
    """

    file: str = ""
    program: str = ""
    units: str = ""
    units_known_by: str = ""


@dataclass(frozen=True)
class ReferenceResult:
    """What chi is relative to: its name, the voxels of it, and the mean (ppm) that was subtracted."""

    reference: str = ""
    reference_voxels: int | None = None
    reference_value_ppm: float | None = None
    reference_labels: tuple[int, ...] = ()
    reference_region_voxels: int | None = None


@dataclass(frozen=True)
class AlignmentResult:
    """Whether registration or the headers align T1w and magnitude, and the cost before and after."""

    used: str = ""
    cost_before: float | None = None
    cost_after: float | None = None


@dataclass(frozen=True)
class Segmentation:
    """How the regions of a scan were found, or why they were not.

    Attributes
    ----------
    status
        `planned`, `done`, `failed` or `none`; empty for a scan without maps.
    method, atlas
        `atlas`, `meshnet` or `derivatives`, and whose labels they are.
    reason
        Why that method, in words.
    t1w
        Relative to the raw dataset.
    """

    status: str = ""
    method: str = ""
    reason: str = ""
    atlas: str = ""
    t1w: str | None = None
    alignment: AlignmentResult = dataclasses.field(default_factory=AlignmentResult)
    warnings: tuple[str, ...] = ()
    errors: tuple[StepError, ...] = ()
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    memory_mb: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class MapChecks:
    """What whole volumes show.

    Attributes
    ----------
    chi_spread
        Interquartile range of chi in units of that of a standard normal distribution, ppm: a standard
        deviation that bone, fat and air do not decide.
    not_finite
        Number of voxels of chi that are not numbers.
    mask_voxels
        Voxels in the mask.
    edge_fraction
        For each side of the image (`left`, `top`...), the share of that face which the mask touches.
    iron_contrast
        Chi where R2* is highest deep in the head, above the rest, in standard deviations: negative in maps of
        the wrong sign.
    """

    chi_spread: float | None = None
    not_finite: int = 0
    mask_voxels: int | None = None
    edge_fraction: dict[str, float] = dataclasses.field(default_factory=dict)
    iron_contrast: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """What was done with one scan.

    Attributes
    ----------
    settings
        Those of the run after the preset, by name.
    background, background_reliable
        The removal of the background, and that for the reliable voxels where there are two passes.
    inversion, inversion_reliable
        The inversion, whichever it was, and that of the reliable voxels where there are two passes.
    origin
        Of a map that another program made.
    maps
        What the steps of further maps noted, by step.
    outputs
        Files by key, relative to the output folder: those that were written or, before a run, will be.
    stale
        Maps of an earlier run that this one did not replace.
    timings, memory_mb
        Of each step, s and MB.
    checks, quality
        Measured on the maps when they are written.
    """

    stem: str
    version: int = VERSION
    entities: dict[str, str] = dataclasses.field(default_factory=dict)
    status: Literal["", "done", "failed"] = ""
    inputs: Inputs = dataclasses.field(default_factory=Inputs)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    preset: PresetChoice = dataclasses.field(default_factory=PresetChoice)
    mask: MaskResult = dataclasses.field(default_factory=MaskResult)
    field: FieldResult = dataclasses.field(default_factory=FieldResult)
    background: BackgroundResult = dataclasses.field(default_factory=BackgroundResult)
    background_reliable: BackgroundResult = dataclasses.field(default_factory=BackgroundResult)
    inversion: InversionResult = dataclasses.field(default_factory=InversionResult)
    inversion_reliable: InversionResult = dataclasses.field(default_factory=InversionResult)
    origin: OriginResult = dataclasses.field(default_factory=OriginResult)
    reference: ReferenceResult = dataclasses.field(default_factory=ReferenceResult)
    maps: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    segmentation: Segmentation = dataclasses.field(default_factory=Segmentation)
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)
    stale: tuple[str, ...] = ()
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    memory_mb: dict[str, float] = dataclasses.field(default_factory=dict)
    software: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    errors: tuple[StepError, ...] = ()
    command: str = ""
    checks: MapChecks = dataclasses.field(default_factory=MapChecks)
    quality: dict[str, Measure] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether anything of this scan is missing because a step failed."""
        return self.status == "failed" or bool(self.errors)

    @property
    def title(self) -> str:
        """Name of the scan in words, without its subject: `Session A, run 1`."""
        parts = dict(part.partition("-")[::2] for part in self.stem.split("_") if "-" in part)
        words = [f"{_ENTITY_NAMES.get(key, key)} {value}" for key, value in parts.items() if key != "sub"]
        text = ", ".join(words)
        return text[:1].upper() + text[1:] if text else "QSM acquisition"

    @property
    def passes(self) -> str:
        """Whether the inversion had a second pass, and why; empty where none was asked for."""
        if self.inversion_reliable.skipped:
            return f"one pass: {self.inversion_reliable.skipped}"
        if self.inversion_reliable.iterations is None:
            return ""
        return "two passes: strong sources where the phase is unreliable were left out of one"

    @property
    def all_timings(self) -> dict[str, float]:
        """Time of all steps, those that find regions among them, s."""
        return self.timings | self.segmentation.timings

    @property
    def all_memory_mb(self) -> dict[str, float]:
        """Memory of all steps, those that find regions among them, MB."""
        return self.memory_mb | self.segmentation.memory_mb

    def output(self, output_dir: Path, key: str) -> Path | None:
        """Return the file of an output if the record names it and it exists inside the output folder."""
        relative = PurePosixPath(self.outputs.get(key, ""))
        if relative == PurePosixPath() or relative.is_absolute() or ".." in relative.parts:
            return None
        path = output_dir / relative
        return path if path.is_file() else None


def record_path(output_dir: Path, record: ScanRecord) -> Path:
    """Return where a record goes: beside the figures of its participant."""
    return output_dir / f"sub-{record.entities['sub']}" / "figures" / f"{record.stem}{RECORD_SUFFIX}"


def write_scan_record(record: ScanRecord, path: Path) -> Path:
    """Write a record; one that is there and says the same stays, with the quality that was measured since."""
    try:
        known = read_json_file(path) if path.exists() else None
    except UnreadableRecord:
        known = None
    if isinstance(known, dict) and described(known) == described(plain(to_json(record))):
        return path
    return write_record(record, path)


def described(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record, as JSON has it, says of how a scan was processed: all but what maps look like."""
    return {name: value for name, value in content.items() if name not in MEASURED_LATER}


def read_records(output_dir: Path, subject: str) -> list[ScanRecord]:
    """Read all records of one participant, sorted by file name.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject
        Participant label without `sub-`.
    """
    folder = output_dir / f"sub-{subject}" / "figures"
    return [read_record(path) for path in sorted(folder.glob(f"*{RECORD_SUFFIX}"))]


def read_record(path: Path) -> ScanRecord:
    """Read one record; a file that cannot be understood gives a failed record that says so."""
    try:
        return parse_record(read_json_file(path))
    except UnreadableRecord as error:
        message = f"{path.name} cannot be read ({error}). Run this participant again."
        stem = path.name.removesuffix(RECORD_SUFFIX)
        return ScanRecord(stem=stem, status="failed", errors=(StepError("report", message),))


def parse_record(content: object) -> ScanRecord:
    """Make a record of decoded JSON.

    Raises
    ------
    UnreadableRecord
        As `from_json`.
    """
    return from_json(content, ScanRecord, VERSION, _from_version_1)


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called the inversion `tgv`, whichever it was, and held the reference in that section."""
    inversion = content.get("tgv")
    values = inversion if isinstance(inversion, dict) else {}
    return {
        **content,
        "version": VERSION,
        "inversion": {} if inversion is None else inversion,
        "inversion_reliable": content.get("tgv_reliable", {}),
        "reference": {name: value for name, value in values.items() if name.startswith("reference")},
        "maps": {
            "chi_noise": {name: value for name, value in values.items() if name.startswith("chi_noise")}
        },
    }
