"""How a run ended, for each scan and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOMETHING_FAILED = 1


@dataclass(frozen=True)
class ScanOutcome:
    """How one scan, or the data of one that could not be put together, ended.

    Attributes
    ----------
    name
        Name for people; empty where all of the participant is meant.
    step, message, exit_code
        What failed and why; empty and 0 where nothing did.
    """

    name: str
    step: str = ""
    message: str = ""
    exit_code: int = 0

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
        """One line: done, or what failed."""
        if not self.failures:
            return "done"
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
    if any(outcome.failures for outcome in outcomes):
        lines.append(f"Log to read: {log_file}")
    return lines
