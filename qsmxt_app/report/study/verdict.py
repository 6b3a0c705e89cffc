"""What stands at the top of the page of a group: a verdict, the worst findings, and counts by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.records.group import GroupRecord
from qsmxt_app.records.scan import read_records
from qsmxt_app.report.findings import VERDICT_ORDER, Finding, worst
from qsmxt_app.report.judgement import judge
from qsmxt_app.report.study.values import ALL, group_names

MOST_FINDINGS = 5
STATES = {"error": "incomplete", "warning": "look first"}
"""What the most serious finding means for who wants to use the results."""
USABLE, LEFT_OUT = VERDICT_ORDER[-1], "left out"
_ORDER = (*reversed(VERDICT_ORDER), LEFT_OUT)


@dataclass(frozen=True)
class ScanCounts:
    """How many participants and scans each group has, the scans by verdict, and how many were left out."""

    participants: Counter[str]
    scans: dict[str, Counter[str]]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Verdicts that there are, the best first; `usable` always."""
        every = self.total
        return tuple(one for one in _ORDER if one == USABLE or every[one])

    @property
    def total(self) -> Counter[str]:
        """Scans by verdict, over all groups."""
        return sum(self.scans.values(), Counter())

    def rows(self) -> list[tuple[str | int, ...]]:
        """Return name, participants and scans by verdict of each group."""
        return [
            (name, self.participants[name], *(self.scans[name][one] for one in self.verdicts))
            for name in sorted(self.scans)
        ]


@dataclass(frozen=True)
class StudyVerdict:
    """The top of the page; `worst` are the titles of the most serious findings, `more` how many follow."""

    level: str
    state: str
    worst: Sequence[str]
    more: int


def count_scans(output_dir: Path, record: GroupRecord, participants: Iterable[str]) -> ScanCounts:
    """Count participants and the verdicts on their scans by group.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    record
        Names the group of each participant, and who was left out.
    participants
        Labels without `sub-`.
    """
    out = Counter(one.participant for one in record.missing)
    names = group_names(list(record.groups.values()))
    people: Counter[str] = Counter()
    scans: dict[str, Counter[str]] = {}
    for label in {*participants, *out}:
        group = names.get(record.groups.get(f"sub-{label}", ""), "not known" if names else ALL)
        people[group] += 1
        counts = scans.setdefault(group, Counter())
        counts.update(judge(output_dir, one).verdict for one in read_records(output_dir, label))
        counts[LEFT_OUT] += out[label]
    return ScanCounts(people, scans)


def review_findings(counts: ScanCounts) -> list[Finding]:
    """Warn of scans that nobody should average without a look."""
    total = counts.total
    every = sum(number for verdict, number in total.items() if verdict != LEFT_OUT)
    poor = [f"{total[one]} {one}" for one in _ORDER if total[one] and one not in (USABLE, LEFT_OUT)]
    if not poor:
        return []
    return [
        Finding(
            "warning",
            f"Of {every} scan{'s' * (every != 1)}: {', '.join(poor)}",
            "Maps that were written are in all averages and tables. The list of participants says what was "
            "found. Rate scans on their pages, and leave out what is rated bad by --exclude-rated.",
        )
    ]


def study_verdict(findings: Sequence[Finding]) -> StudyVerdict:
    """Judge a study by its findings, the most serious first."""
    level = worst(findings)
    serious = [finding.title for finding in findings if finding.level != "note"]
    more = max(0, len(serious) - MOST_FINDINGS)
    return StudyVerdict(level, STATES.get(level, "usable"), serious[:MOST_FINDINGS], more)
