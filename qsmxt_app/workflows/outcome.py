"""How a run ended, for each scan and as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.terminal import counted

SOMETHING_FAILED = 1
SHOWN_WARNINGS = 5
"""Kinds of warnings that the terminal shows."""


@dataclass(frozen=True)
class ScanOutcome:
    """How one scan, or the data of one that could not be put together, ended.

    Attributes
    ----------
    name
        Name for people; empty where all of the participant is meant.
    step, message, exit_code
        What failed and why; empty and 0 where nothing did.
    warnings
        What a person should look at.
    """

    name: str
    step: str = ""
    message: str = ""
    exit_code: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether something is missing."""
        return self.exit_code != 0


@dataclass(frozen=True)
class ParticipantOutcome:
    """How one participant ended; an empty label stands for what covers all of them."""

    subject: str
    scans: tuple[ScanOutcome, ...]

    @property
    def failures(self) -> tuple[ScanOutcome, ...]:
        """What failed."""
        return tuple(scan for scan in self.scans if scan.failed)

    @property
    def text(self) -> str:
        """One line: done, with or without warnings, or what failed."""
        if not self.failures:
            return "done, with warnings" if any(scan.warnings for scan in self.scans) else "done"
        if not self.subject:
            return "failed"
        return f"{len(self.failures)} of {len(self.scans)} failed"


def exit_code(outcomes: Sequence[ParticipantOutcome]) -> int:
    """Return the exit code of a run.

    0 if nothing failed, 1 if something failed and something else was finished, and otherwise the code that
    all failures share (1 if they differ).
    """
    scans = [scan for outcome in outcomes for scan in outcome.scans]
    codes = {scan.exit_code for scan in scans}
    if codes <= {0}:
        return 0
    return codes.pop() if len(codes) == 1 else SOMETHING_FAILED


def summary_lines(outcomes: Sequence[ParticipantOutcome], log_file: Path) -> list[str]:
    """Return a line for each participant, one for each failure, and where to read more."""
    lines = []
    for outcome in outcomes:
        whose = f"sub-{outcome.subject}" if outcome.subject else "What covers all participants"
        lines.append(f"{whose}: {outcome.text}")
        lines += [
            f"  {': '.join(filter(None, (scan.name, scan.step, scan.message)))}" for scan in outcome.failures
        ]
    lines += warning_lines([scan for outcome in outcomes for scan in outcome.scans])
    if any(outcome.failures for outcome in outcomes):
        lines.append(f"Log to read: {log_file}")
    return lines


def warning_lines(scans: Sequence[ScanOutcome]) -> list[str]:
    """Return one line for each of the first kinds of warnings, with the scans that have it."""
    kinds: dict[str, list[str]] = {}
    for scan in scans:
        for text in dict.fromkeys(scan.warnings):
            kinds.setdefault(re.sub(r"\d+(\.\d+)?", "#", text), []).append(f"{scan.name}: {text}")
    lines = [
        f"  Warning: {said[0]}" + (f" ({counted(len(said) - 1, 'other scan')} too)" if said[1:] else "")
        for said in list(kinds.values())[:SHOWN_WARNINGS]
    ]
    if len(kinds) > SHOWN_WARNINGS:
        lines.append(
            f"  and {counted(len(kinds) - SHOWN_WARNINGS, 'other kind')} of warnings, in the reports."
        )
    return lines
