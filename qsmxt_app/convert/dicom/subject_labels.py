"""Who was scanned, and when: labels of subjects and sessions that never merge two subjects.

Every image gets a session, ``ses-01`` for the first date seen of a person. Were the session left out where
there is one date, a later date would force the first one's files to be renamed, or leave one person half
with sessions and half without.

Labels are kept in a `SavedLabels` beside the review table, so that a person keeps theirs whatever arrives
later; it holds digests of what identifies subjects, never the names themselves.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from qsmxt_app.convert.dicom.header import ScanParameters
from qsmxt_app.convert.naming import legal_label
from qsmxt_app.convert.table import read_table
from qsmxt_app.errors import WrongUsage

MAXIMUM_SUBJECT_LABEL = 32
HINT = "Use --subject-map to assign studies to subjects."
_PLACEHOLDER = re.compile(
    r"anon(ymous|ymi[sz]ed|ymi[sz]ation)?|de-?id(entified)?|unknown|none|null|na|n/a|patient|subject|person|"
    r"removed|x+|0+|no_?id|default|no_?name|redacted|hidden|test|\W+|_+",
    re.I,
)
"""IDs that anonymisers write for every patient."""

_MATCHERS = {"patient_id": "patient_id", "patient_name": "patient_name", "study_uid": "study_uid",
             "study_date": "study_date"}  # fmt: skip
_SPELLINGS = {"patientid": "patient_id", "patientname": "patient_name", "studyinstanceuid": "study_uid",
              "study_instance_uid": "study_uid", "studyuid": "study_uid", "studydate": "study_date",
              "sub": "subject", "ses": "session"}  # fmt: skip


Facts = tuple[str, str, str]
"""Birth date, sex and name as a few hexadecimal digits each: enough to distinguish subjects, no more."""
StudyKey = tuple[str, str, str, str, str]


@dataclass
class SavedLabels:
    """What earlier runs decided.

    Attributes
    ----------
    subjects
        Digest of an identifier, then the label of each person who has it, with the person's facts.
    sessions
        Label of a person, then study date to session label.
    """

    subjects: dict[str, dict[str, Facts]] = field(default_factory=dict)
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """One person as the headers describe them; two that differ are never merged.

    Attributes
    ----------
    identity
        Digest of what the person is known by: identifier, and the study where that says nothing.
    label
        The preferred label, unless another person has it.
    exact
        Whether `label` is the identifier as it stands.
    facts
        What tells the person from others with the same identifier.
    alone
        Whether no other person in this run has the identifier.
    """

    identity: str
    label: str
    exact: bool
    facts: Facts
    alone: bool


@dataclass(frozen=True)
class Visit:
    """Labels of one study, without ``sub-`` and ``ses-``."""

    subject: str
    session: str | None


@dataclass(frozen=True)
class Labels:
    """Labels of all studies, by `study_key`, and one line for each note to the user."""

    visits: Mapping[StudyKey, Visit]
    notes: tuple[str, ...]


def study_key(scan: ScanParameters) -> StudyKey:
    """What two files must share to be of one person's study."""
    return scan.patient_id, scan.patient_name, scan.birth_date, scan.sex, scan.study_uid


def label_subjects(
    scans: Iterable[ScanParameters],
    saved_labels: SavedLabels,
    *,
    subject_from: str = "PatientID",
    subject_map: Path | None = None,
) -> Labels:
    """Give each study its subject and session.

    Parameters
    ----------
    scans
        Of all series.
    saved_labels
        Earlier decisions, which stand; new ones are added to it.
    subject_from
        ``PatientID`` or ``PatientName``.
    subject_map
        Table of which label a person or study gets: see `read_subject_map`.

    Raises
    ------
    WrongUsage
        If the map cannot be understood.
    """
    studies = {study_key(scan): scan for scan in scans}
    given = read_subject_map(subject_map) if subject_map else []
    mapped = {key: visit for key, scan in studies.items() if (visit := _mapped(scan, given, subject_map))}
    subjects, notes = _identify_subjects([s for key, s in studies.items() if key not in mapped], subject_from)
    labels = _assign_labels(
        set(subjects.values()), saved_labels, {visit.subject for visit in mapped.values()}
    )
    visits: dict[StudyKey, Visit] = {}
    for key, scan in sorted(studies.items(), key=lambda item: (item[1].study_date, item[0])):
        visit = mapped.get(key)
        subject = visit.subject if visit else labels[subjects[key]]
        visits[key] = Visit(
            subject, (visit and visit.session) or _session(saved_labels, subject, scan.study_date)
        )
    return Labels(visits, tuple(notes))


def _identify_subjects(
    scans: Sequence[ScanParameters], subject_from: str
) -> tuple[dict[StudyKey, Subject], list[str]]:
    """Find the person of each study, and say where the identifier alone is ambiguous."""
    by_identifier: defaultdict[str, list[ScanParameters]] = defaultdict(list)
    for scan in scans:
        identifier = scan.patient_name if subject_from == "PatientName" else scan.patient_id
        by_identifier[" ".join(identifier.replace("^", " ").split())].append(scan)
    subjects: dict[StudyKey, Subject] = {}
    notes = []
    for identifier, theirs in sorted(by_identifier.items()):
        label = _wanted_label(identifier)
        if not identifier or _PLACEHOLDER.fullmatch(identifier):
            said = f"without a {subject_from}"
            if identifier:
                said = f"with the {subject_from} {label!r} that anonymisation tools write for everyone"
            n = f"{len(theirs)} stud{'y' if len(theirs) == 1 else 'ies'}"
            notes.append(f"{n} {said}: each became a subject of its own. {HINT}")
            for scan in theirs:
                identity = _digest(identifier, *study_key(scan))
                subjects[study_key(scan)] = Subject(identity, label, False, ("", "", ""), False)
            continue
        clusters = _clusters(theirs)
        if len(clusters) > 1:
            notes.append(
                f"one {subject_from} ({label}) is shared by {len(clusters)} people who differ in birth date, "
                f"sex or name: each became a subject of its own. {HINT}"
            )
        notes += [
            f"studies with the {subject_from} {label!r} have one birth date but different names: they became "
            f"one subject. {HINT}"
            for cluster in clusters.values()
            if _names_differ([_facts(scan)[2] for scan in cluster])
        ]
        for facts, cluster in clusters.items():
            digests = _shortened(identifier, facts)
            person = Subject(_digest(identifier), label, label == identifier, digests, len(clusters) == 1)
            subjects |= {study_key(scan): person for scan in cluster}
    return subjects, notes


def _clusters(scans: Sequence[ScanParameters]) -> dict[Facts, list[ScanParameters]]:
    """Studies of one identifier by who they can be."""
    facts = {study_key(scan): _facts(scan) for scan in scans}
    clusters: dict[Facts, list[ScanParameters]] = {}
    # those of whom most is known come first, so that the others join them
    for scan in sorted(scans, key=lambda s: ([not fact for fact in facts[study_key(s)]], study_key(s))):
        own = facts[study_key(scan)]
        clusters.setdefault(next((known for known in clusters if _agree(known, own)), own), []).append(scan)
    return clusters


def _facts(scan: ScanParameters) -> Facts:
    plain = unicodedata.normalize("NFKD", scan.patient_name).encode("ascii", "ignore").decode()
    name = " ".join(sorted(re.findall(r"[a-z]+", plain.casefold())))
    if _PLACEHOLDER.fullmatch(name) or not name:
        name = ""
    # "O" is what an operator who was not told writes
    return scan.birth_date, scan.sex if scan.sex in {"M", "F"} else "", name


def _names_differ(names: Sequence[str]) -> bool:
    """Whether two of the names cannot be spellings of one: with initials, or with a name more."""
    words = [name.split() for name in dict.fromkeys(names) if name]
    return any(
        not all(any(a.startswith(b) or b.startswith(a) for a in longer) for b in shorter)
        for one, two in combinations(words, 2)
        for shorter, longer in [sorted((one, two), key=len)]
    )


def _shortened(identifier: str, facts: Facts) -> Facts:
    birth_date, sex, name = (_digest(identifier, fact)[:3] if fact else "" for fact in facts)
    return birth_date, sex, name


def _agree(one: Facts, two: Facts) -> bool:
    """Whether two studies of one identifier can be of one person: an empty fact agrees with anything.

    Names are spelled in many ways, so that they count only where a birth date is missing.
    """
    same = [a == b or not a or not b for a, b in zip(one, two, strict=True)]
    return same[0] and same[1] and (same[2] or bool(one[0] and two[0]))


def _assign_labels(
    subjects: set[Subject], saved_labels: SavedLabels, reserved: set[str]
) -> dict[Subject, str]:
    """Give each person the label they have, or an unused one; upper and lower case are the same."""
    labels: dict[Subject, str] = {}
    ordered = sorted(subjects, key=lambda p: (p.identity, p.facts))
    for person in ordered:
        known = saved_labels.subjects.get(person.identity, {})
        free = {label: facts for label, facts in known.items() if label not in labels.values()}
        same = next((label for label, facts in free.items() if _agree(facts, person.facts)), None)
        if same is not None:
            labels[person] = same
    held = {label for known in saved_labels.subjects.values() for label in known}
    taken = {label.casefold() for label in held | reserved}
    new = [person for person in ordered if person not in labels]
    rivals = Counter(person.label.casefold() for person in new)
    for person in sorted(new, key=lambda p: not p.exact):
        plain = person.label.casefold()
        others = saved_labels.subjects.get(person.identity) or not person.alone
        # of several, only the one whose identifier is the label as it stands may have it
        if others or plain in taken or not (rivals[plain] == 1 or person.exact):
            label = person.label + _digest(person.identity, *person.facts)[:6]
        else:
            label = person.label
        labels[person] = label
        taken.add(label.casefold())
    for person, label in labels.items():
        saved_labels.subjects.setdefault(person.identity, {})[label] = person.facts
    return labels


def _wanted_label(identifier: str) -> str:
    label = legal_label(identifier)
    if len(label) > MAXIMUM_SUBJECT_LABEL:
        label = label[:MAXIMUM_SUBJECT_LABEL] + _digest(identifier)[:6]
    return label or "anon"


def _session(saved_labels: SavedLabels, subject: str, date: str) -> str:
    """Label of a person's visit on a date: the next number for a new date."""
    sessions = saved_labels.sessions.setdefault(subject, {})
    if date not in sessions:
        numbers = [int(label) for label in sessions.values() if label.isdecimal()]
        sessions[date] = f"{max(numbers, default=0) + 1:02d}"
    return sessions[date]


def read_subject_map(path: Path) -> list[dict[str, str]]:
    """Read the table that says which subject (and session) a person or a study gets.

    Parameters
    ----------
    path
        Table with a column ``subject``, optionally ``session``, and at least one of ``patient_id``,
        ``patient_name``, ``study_uid``, ``study_date``; a row holds for the studies that match all its
        filled cells.

    Raises
    ------
    WrongUsage
        In one line: the file, the row, what is wrong and what to do.
    """
    table = read_table(path)
    names = {column: _SPELLINGS.get(column, column) for column in table.columns}
    known = set(names.values())
    if "subject" not in known or not known & set(_MATCHERS):
        raise WrongUsage(
            f"{path}: needs a column subject and at least one of {', '.join(_MATCHERS)}.", "Add them."
        )
    rows = []
    for number, row in enumerate(table.rows, start=2):
        cells = {names[column]: cell for column, cell in row.items()}
        cells["subject"] = cells["subject"].removeprefix("sub-")
        cells["session"] = cells.get("session", "").removeprefix("ses-")
        if not any(cells.get(column) for column in _MATCHERS):
            raise WrongUsage(
                f"{path}: row {number} has no cell that says which study it is about.",
                "Fill in a patient_id.",
            )
        for column in ("subject", "session"):
            label = cells[column]
            if (column == "subject" and not label) or label != legal_label(label):
                raise WrongUsage(
                    f"{path}: row {number}: {label!r} is not a valid {column} label.",
                    "Use letters and digits.",
                )
        rows.append(cells)
    return rows


def _mapped(scan: ScanParameters, rows: Sequence[Mapping[str, str]], path: Path | None) -> Visit | None:
    found = {
        Visit(row["subject"], row["session"] or None)
        for row in rows
        if all(not row.get(c) or row[c] == getattr(scan, f) for c, f in _MATCHERS.items())
    }
    if len(found) > 1:
        raise WrongUsage(
            f"{path}: rows with different labels match the study of {scan.study_date or 'unknown date'} with "
            f"UID {scan.study_uid}.",
            "Distinguish them with a study_uid or study_date.",
        )
    return found.pop() if found else None


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
