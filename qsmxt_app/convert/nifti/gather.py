"""Gathering what is known of each NIfTI file: from its path, its JSON, and its header."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from qsmxt_app.bids.headers import ImageHeader, parse_header, read_header
from qsmxt_app.bids.sidecars import read_json_object
from qsmxt_app.convert.naming import legal_label
from qsmxt_app.convert.nifti.patterns import (
    GRADIENT_ECHO,
    IGNORE,
    SUFFIXES,
    from_bids_name,
    from_own_patterns,
    from_usual_names,
)
from qsmxt_app.errors import QsmxtError
from qsmxt_app.qsm.constants import GAMMA_BAR_MHZ_PER_T

_COMPONENTS = {
    "P": "phase",
    "PHASE": "phase",
    "M": "mag",
    "MAGNITUDE": "mag",
    "R": "real",
    "REAL": "real",
    "I": "imag",
    "IMAGINARY": "imag",
}
DIFFERENCE_OR_ECHO = "phase difference or phase of an echo"
"""A suffix that other files decide: dcm2niix gives the phase of each echo the first two echo times, too."""
ONLY_SUBJECT = "01"
"""Label of the subject where nothing names one and all files are of one person."""
_DIFFERENCE = frozenset({"PHASE DIFFERENCE", "PHASE_DIFFERENCE", "PHASEDIFF", "PHASE_DIFF"})
_OTHER_SCANS = frozenset({"func", "dwi", "perf", "discard", "derived", "pet", "mrs"})
# What dcm2niix writes into the header's description.
_DESCRIBED_TIME = re.compile(r"\bTE=(\d+(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A NIfTI file and what was gathered of it.

    Attributes
    ----------
    path
        The file.
    name
        Its path relative to the folder that is converted, with slashes.
    cells
        What is known, by entity (`patterns.ENTITIES`), as text for the table.
    metadata
        Its JSON sidecar; empty where there is none.
    header
        Geometry; None where the file cannot be used.
    problem
        Why it cannot be used, in one line.
    """

    path: Path
    name: str
    cells: Mapping[str, str]
    metadata: Mapping[str, Any]
    header: ImageHeader | None
    problem: str = ""

    @property
    def volumes(self) -> int:
        """How many volumes the file holds: echoes, uncombined coils, or both."""
        return math.prod(self.header.shape[3:]) if self.header else 1


def gather(
    paths: Iterable[Path], source: Path, patterns: Mapping[str, re.Pattern[str]], subject_from: str
) -> list[NiftiFile]:
    """Gather what is known of each file.

    What the user's own pattern says counts most, then a BIDS name, then JSON, then usual words in the path,
    then the header. Only for the kind of image, names count more than JSON.

    Parameters
    ----------
    paths
        NIfTI files below `source`.
    source
        The folder that is converted.
    patterns
        From `read_patterns`.
    subject_from
        ``PatientID`` or ``PatientName``, where JSON has them.
    """
    return resolve_suffixes([_gather_one(path, source, patterns, subject_from) for path in paths])


def _gather_one(
    path: Path, source: Path, patterns: Mapping[str, re.Pattern[str]], subject_from: str
) -> NiftiFile:
    name = path.relative_to(source).as_posix()
    metadata: dict[str, Any] = {}
    header, described, problem = None, {}, ""
    try:
        header = read_header(path)
        described = _from_header(path)
        sidecar = path.with_name(_stem(path.name) + ".json")
        metadata = read_json_object(sidecar) if sidecar.is_file() else {}
    except QsmxtError as error:
        problem = str(error)
    usual, said = from_usual_names(name), from_json(metadata, subject_from)
    if "suffix" in usual and said.get("suffix") not in {"phasediff", DIFFERENCE_OR_ECHO}:
        said.pop("suffix", None)
    cells = described | usual | said | from_bids_name(name) | from_own_patterns(name, patterns)
    return NiftiFile(path, name, cells, metadata, header, problem)


def from_json(metadata: Mapping[str, Any], subject_from: str) -> dict[str, str]:
    """Entities that a JSON sidecar tells.

    Examples
    --------
    >>> from_json({"EchoTime": 0.004, "ImageType": ["ORIGINAL", "P"], "ScanningSequence": "GR"}, "PatientID")
    {'part': 'phase', 'suffix': 'gradient-echo', 'echo_time': '0.004'}
    """
    found = {
        "subject": _text(metadata.get(subject_from)),
        "acquisition": legal_label(_text(metadata.get("ProtocolName") or metadata.get("SeriesDescription"))),
        "part": _part(metadata),
        "suffix": _suffix(metadata),
        "echo": _text(metadata.get("EchoNumber")),
        "echo_time": _echo_time(metadata),
        "field_strength": _field_strength(metadata),
    }
    return {entity: text for entity, text in found.items() if text}


def resolve_suffixes(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    """Decide what only the other files can tell: which are magnitudes, and which have several echoes."""
    files = _number_runs(_with_only_subject(_complete_parts(files)))
    scans: dict[tuple[str, ...], list[NiftiFile]] = {}
    for file in files:
        scans.setdefault(_scan(file), []).append(file)
    files = [_decide_difference(file, scans[_scan(file)]) for file in files]
    scans = {}
    for file in files:
        scans.setdefault(_scan(file), []).append(file)
    return [
        _with(file, suffix=_gradient_echo_suffix(file, scans[_scan(file)]))
        if file.cells.get("suffix") == GRADIENT_ECHO
        else file
        for file in files
    ]


def _decide_difference(file: NiftiFile, scan: Sequence[NiftiFile]) -> NiftiFile:
    """Tell the phase of an echo from a phase difference: one phase image for two magnitudes or more."""
    if file.cells.get("suffix") != DIFFERENCE_OR_ECHO:
        return file
    times: dict[str, set[str]] = {"phase": set(), "mag": set()}
    for one in scan:
        times.setdefault(one.cells.get("part", "mag"), set()).add(_own_echo_time(one))
    if len(times["phase"]) > 1 or times["mag"] == times["phase"]:
        return _with(file, suffix=GRADIENT_ECHO, echo_time=_own_echo_time(file))
    both = [_text(file.metadata.get(f"EchoTime{number}")) for number in (1, 2)]
    return _with(file, suffix="phasediff", echo_time=" ".join(both))


def _own_echo_time(file: NiftiFile) -> str:
    return _text(file.metadata.get("EchoTime")) or file.cells.get("echo_time", "")


def _with_only_subject(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    """Name the subject where nothing does, all files lie in one folder, and no two are the same image."""
    used = [file for file in files if file.cells.get("suffix") != IGNORE]
    slots = [_slot(file) for file in used]
    alone = (
        not any(file.cells.get("subject") for file in used)
        and len({_folder(file) for file in used}) == 1
        and len(set(slots)) == len(slots)
        and any(file.metadata for file in used)
    )
    return [_with(file, subject=ONLY_SUBJECT) for file in files] if alone else list(files)


def _slot(file: NiftiFile) -> tuple[str, ...]:
    """What images of one scan differ in."""
    return (*_scan(file), file.cells.get("suffix", ""), file.cells.get("part", "mag"), _own_echo_time(file))


def _number_runs(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    """Number the repetitions of a scan of one subject by their series, where each image is repeated."""
    slots: dict[tuple[str, ...], list[NiftiFile]] = {}
    for file in files:
        if file.cells.get("subject") and "run" not in file.cells and file.cells.get("suffix") != IGNORE:
            slots.setdefault(_slot(file), []).append(file)
    runs: dict[str, str] = {}
    for several in slots.values():
        numbers = {file.name: _text(file.metadata.get("SeriesNumber")) for file in several}
        distinct = len(set(numbers.values())) == len(several) and all(numbers.values())
        if len(several) > 1 and distinct:
            ordered = sorted(numbers, key=lambda name: float(numbers[name]))
            runs |= {name: str(run) for run, name in enumerate(ordered, start=1)}
    return [_with(file, run=runs[file.name]) if file.name in runs else file for file in files]


def _gradient_echo_suffix(file: NiftiFile, scan: Sequence[NiftiFile]) -> str:
    """Suffix of a gradient echo, which the other files of its scan decide."""
    echoes = [one for one in scan if one.cells.get("suffix") == GRADIENT_ECHO]
    parts = {one.cells.get("part", "mag") for one in echoes}
    if parts == {"mag"} and any(one.cells.get("suffix") == "phasediff" for one in scan):
        return "magnitude2" if file.cells.get("echo") == "2" else "magnitude1"
    several = {one.cells.get("echo") or one.cells.get("echo_time") for one in echoes}
    return "MEGRE" if len(several) > 1 or any(one.volumes > 1 for one in echoes) else "T2starw"


def _scan(file: NiftiFile) -> tuple[str, ...]:
    shared = ("subject", "session", "acquisition", "reconstruction", "run")
    place = "" if file.cells.get("subject") else str(PurePosixPath(file.name).parent)
    return (place, *(file.cells.get(entity, "") for entity in shared))


def _complete_parts(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    """A file beside one of the same name and ``_ph`` is its magnitude; phase makes both gradient echoes."""
    parts: dict[str, set[str]] = {}
    for file in files:
        parts.setdefault(_folder(file), set()).add(file.cells.get("part", ""))
    phases = [file for file in files if file.cells.get("part") == "phase"]
    stems = {(_folder(file), _stem(Path(file.name).name)) for file in phases}
    return [_completed(file, stems, parts[_folder(file)]) for file in files]


def _completed(file: NiftiFile, stems: set[tuple[str, str]], parts_beside: set[str]) -> NiftiFile:
    part = file.cells.get("part") or ("mag" if _has_phase_beside(file, stems) else "")
    known = {"part": part} if part else {}
    if "suffix" not in file.cells and part and (part in {"real", "imag"} or "phase" in parts_beside):
        known["suffix"] = GRADIENT_ECHO
    return _with(file, **known)


def _has_phase_beside(file: NiftiFile, stems: set[tuple[str, str]]) -> bool:
    stem = _stem(Path(file.name).name)
    return any((_folder(file), f"{stem}{end}") in stems for end in ("_ph", "_phase", "_pha"))


def _folder(file: NiftiFile) -> str:
    return str(PurePosixPath(file.name).parent)


def _with(file: NiftiFile, **cells: str) -> NiftiFile:
    return replace(file, cells={**file.cells, **cells})


def _stem(name: str) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)


def _from_header(path: Path) -> dict[str, str]:
    description = parse_header(path)["descrip"].item().decode("latin-1")
    time = _DESCRIBED_TIME.search(description)
    found = {"echo_time": f"{float(time[1]) / 1000:g}"} if time and float(time[1]) > 0 else {}
    return found | ({"part": "phase"} if "phase=1" in description else {})


def _image_type(metadata: Mapping[str, Any]) -> list[str]:
    kinds = metadata.get("ImageType")
    return [str(word).upper() for word in kinds] if isinstance(kinds, list) else []


def _guess(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Folder and suffix that dcm2niix takes an image for; its guesses at field maps are not reliable."""
    guess = metadata.get("BidsGuess")
    if not (isinstance(guess, list) and len(guess) == 2):
        return "", ""
    return str(guess[0]), str(guess[1]).rpartition("_")[2]


def _part(metadata: Mapping[str, Any]) -> str:
    words = _image_type(metadata)
    # the last word that means something: ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE", "PHASE"]
    return next((_COMPONENTS[word] for word in reversed(words) if word in _COMPONENTS), "")


def _suffix(metadata: Mapping[str, Any]) -> str:
    datatype, guess = _guess(metadata)
    if datatype in _OTHER_SCANS or (datatype == "anat" and guess not in {*SUFFIXES, "GRE", "SWI"}):
        return IGNORE
    if _part(metadata) == "phase":
        sequence = _text(metadata.get("SequenceName")).lower().lstrip("*")
        if sequence.startswith("fm2d") or not _DIFFERENCE.isdisjoint(_image_type(metadata)):
            return "phasediff"
        if {"EchoTime1", "EchoTime2"} <= metadata.keys():
            return DIFFERENCE_OR_ECHO if guess not in {"MEGRE", "T2starw"} else GRADIENT_ECHO
    scanning = metadata.get("ScanningSequence")
    kinds = set(
        re.split(r"[\W_]+", " ".join(map(str, scanning)) if isinstance(scanning, list) else _text(scanning))
    )
    if "InversionTime" in metadata or {"GR", "IR"} <= kinds:
        return "T1w"
    return GRADIENT_ECHO if "GR" in kinds and "EP" not in kinds else ""


def _echo_time(metadata: Mapping[str, Any]) -> str:
    if {"EchoTime1", "EchoTime2"} <= metadata.keys() and _suffix(metadata) == "phasediff":
        times = [metadata["EchoTime1"], metadata["EchoTime2"]]
    else:
        given = metadata.get("EchoTime")
        times = given if isinstance(given, list) else [given]
    return " ".join(map(_text, times)) if all(_is_number(time) for time in times) else ""


def _field_strength(metadata: Mapping[str, Any]) -> str:
    strength, frequency = metadata.get("MagneticFieldStrength"), metadata.get("ImagingFrequency")
    if _is_number(strength):
        return _text(strength)
    return f"{float(frequency) / GAMMA_BAR_MHZ_PER_T:.4g}" if _is_number(frequency) else ""  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    )


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value).strip()
