"""What the participant level left on disk, read for the group: usable scans, and who is missing and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qsmxt_app.bids.dataset import participant_labels
from qsmxt_app.bids.derivatives import sidecar_path
from qsmxt_app.bids.entities import parse_name, without_prefix
from qsmxt_app.group.csv_text import read_tsv_file
from qsmxt_app.group.ratings import FOLDER, left_out, read_ratings
from qsmxt_app.records.group import MissingScan
from qsmxt_app.records.open_values import text, words
from qsmxt_app.records.scan import ScanRecord, read_records
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.node_base import read_json
from qsmxt_app.workflows.outputs import method_parameters

NEEDED = {"chi": "susceptibility map", "magnitude": "magnitude", "mask": "mask"}
MASKED_REFERENCE = "region"
"""What a map is said to be relative to where the user gave a mask: each scan has its own."""
NOT_RUN = "the participant level has not written anything for it: not run yet, or no gradient-echo images"


@dataclass(frozen=True)
class GroupScan:
    """The files of one scan that the group level uses.

    Attributes
    ----------
    participant
        Label without `sub-`.
    stem
        `sub-01_ses-A_run-1`.
    entities
        Short keys and labels of BIDS.
    files
        Keys of the record's outputs (`chi`, `magnitude`, `mask`, `r2star`, `dseg`, `stats`, `t1w`...) to
        files that exist.
    atlas
        Name of the segmentation, where there is one.
    made
        How its maps were made, in words, as far as it is known: what ought to be the same in all scans.
    """

    participant: str
    stem: str
    entities: Mapping[str, str]
    files: Mapping[str, Path]
    atlas: str = ""
    made: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyOutputs:
    """All scans that can be used, by participant and name, and what is missing."""

    scans: tuple[GroupScan, ...]
    missing: tuple[MissingScan, ...]

    @property
    def participants(self) -> dict[str, list[GroupScan]]:
        """Scans of each participant."""
        found: dict[str, list[GroupScan]] = {}
        for scan in self.scans:
            found.setdefault(scan.participant, []).append(scan)
        return found


@dataclass(frozen=True)
class Phenotypes:
    """Rows of participants.tsv, and of all sessions.tsv with a `participant_id`."""

    participants: list[dict[str, str]] = field(default_factory=list)
    sessions: list[dict[str, str]] = field(default_factory=list)


def read_study(output_dir: Path, raw: Path, subjects: Sequence[str], settings: Settings) -> StudyOutputs:
    """Read the records and files of participants.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    raw
        The raw dataset, which says which sessions there should be.
    subjects
        Labels without `sub-`.
    settings
        Its selection of sessions, acquisitions and runs is followed, and of ratings.

    Raises
    ------
    NoInput, UnusableData
        Ratings that are to be followed do not exist, or cannot be understood.
    """
    scans: list[GroupScan] = []
    missing: list[MissingScan] = []
    wanted = _wanted(settings)
    rated = {}
    if settings.exclude_rated:
        rated = left_out(read_ratings(settings.ratings or output_dir / FOLDER), settings.exclude_rated)
    for subject in subjects:
        records = [record for record in read_records(output_dir, subject) if _selected(record, wanted)]
        for record in records:
            found = _read_scan(output_dir, subject, record)
            if record.stem in rated:
                found = MissingScan(subject, record.stem, str(rated[record.stem]))
            (scans if isinstance(found, GroupScan) else missing).append(found)  # type: ignore[arg-type]
        missing += _not_run(raw, subject, records, wanted)
    return StudyOutputs(tuple(scans), tuple(missing))


def existing_participants(output_dir: Path, raw: Path) -> list[str]:
    """Return the labels of all participants of the raw dataset and of the derivative."""
    return sorted({*participant_labels(raw), *participant_labels(output_dir)})


def read_phenotypes(raw: Path, subjects: Iterable[str]) -> Phenotypes:
    """Read participants.tsv and the sessions.tsv of participants; a missing file reads as an empty one."""
    sessions = [
        {**row, "participant_id": f"sub-{subject}"}
        for subject in subjects
        for row in read_tsv_file(raw / f"sub-{subject}" / f"sub-{subject}_sessions.tsv")
    ]
    return Phenotypes(read_tsv_file(raw / "participants.tsv"), sessions)


def _read_scan(output_dir: Path, subject: str, record: ScanRecord) -> GroupScan | MissingScan:
    paths = {key: record.output(output_dir, key) for key in record.outputs}
    files = {key: path for key, path in paths.items() if path is not None}
    absent = [name for key, name in NEEDED.items() if key not in files]
    if not absent:
        labels = parse_name(files["dseg"].name) if "dseg" in files else None
        atlas = labels.entities.get("seg", "") if labels else ""
        how = _how_made(record, files["chi"])
        return GroupScan(subject, record.stem, record.entities, files, atlas, how)
    if record.errors:
        error = record.errors[0]
        reason = f"{error.step}: {error.message}" if error.step else error.message
        return MissingScan(subject, record.stem, reason, error.log)
    return MissingScan(subject, record.stem, f"its {' and '.join(absent)} cannot be found")


def _how_made(record: ScanRecord, chi: Path) -> dict[str, str]:
    """Return what scans ought to share: of settings, those that a preset does not stand for."""
    sidecar = read_json(sidecar_path(chi))
    reference = text(sidecar.get("Reference"))
    preset = record.preset.preset or text(record.settings.get("preset"))
    own = {name: value for name, value in method_parameters(record.settings).items() if name != "reference"}
    strength = record.inputs.field_strength
    return {
        "reference of chi": "a mask of its own" if reference == MASKED_REFERENCE else reference,
        "units of chi": text(sidecar.get("Units")),
        "preset": preset,
        **{f"{name.replace('_', ' ')} ({preset})": words(value) for name, value in own.items()},
        # 2.89 T and 3.0004 T are what scanners of 3 T write
        "field strength": f"{round(2 * strength) / 2:g} T" if strength else "",
        "version of qsmxt": record.software.get("qsmxt", ""),
    }


def _not_run(
    raw: Path, subject: str, records: Sequence[ScanRecord], wanted: Mapping[str, frozenset[str]]
) -> list[MissingScan]:
    """Name a participant, or a session of one, of which there is no record."""
    folders = sorted((raw / f"sub-{subject}").glob("ses-*"))
    sessions = [folder.name.removeprefix("ses-") for folder in folders if folder.is_dir()]
    if "ses" in wanted:
        sessions = [label for label in sessions if label in wanted["ses"]]
    if not records:
        return [MissingScan(subject, "", NOT_RUN)]
    seen = {record.entities.get("ses", "") for record in records}
    return [
        MissingScan(subject, f"sub-{subject}_ses-{label}", NOT_RUN) for label in sessions if label not in seen
    ]


def _wanted(settings: Settings) -> dict[str, frozenset[str]]:
    labels = {
        "ses": settings.session_label,
        "acq": settings.acquisition_label,
        "run": settings.run_label,
    }
    return {
        key: frozenset(without_prefix(key, label) for label in given)
        for key, given in labels.items()
        if given
    }


def _selected(record: ScanRecord, wanted: Mapping[str, frozenset[str]]) -> bool:
    return all(record.entities.get(key, "") in labels for key, labels in wanted.items())
