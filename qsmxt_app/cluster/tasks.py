"""The tasks of a submission: a table that scripts read, and how each of them ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.entities import check_label
from qsmxt_app.errors import NoInput, WrongUsage

TABLE = "tasks.tsv"
ENDINGS = "ended"
"""Folder with a file per task that contains its exit code."""
COLUMNS = ("name", "participant_id", "session_id", "scans")
NOT_APPLICABLE = "n/a"
KILLED = 128


@dataclass(frozen=True)
class Task:
    """What one job of the array processes.

    Attributes
    ----------
    participant, session
        Labels without `sub-` and `ses-`; an empty session stands for all of the participant.
    scans
        Number of its scans.

    Raises
    ------
    WrongUsage
        A label that BIDS does not allow: names of tasks become names of files.
    """

    participant: str
    session: str = ""
    scans: int = 1

    def __post_init__(self) -> None:
        check_label("sub", self.participant)
        if self.session:
            check_label("ses", self.session)

    @property
    def name(self) -> str:
        """`sub-01` or `sub-01_ses-A`."""
        return f"sub-{self.participant}" + (f"_ses-{self.session}" if self.session else "")


@dataclass(frozen=True)
class Ending:
    """How a task ended: its exit code, or None where it left none (it waits, runs, or was killed)."""

    task: Task
    code: int | None

    @property
    def done(self) -> bool:
        """Whether everything of the task was finished."""
        return self.code == 0

    @property
    def text(self) -> str:
        """One line for people."""
        if self.code is None:
            return f"{self.task.name}: did not complete (killed, out of memory or time, or not started)"
        if self.code > KILLED:
            return f"{self.task.name}: stopped by signal {self.code - KILLED}"
        return f"{self.task.name}: " + ("done" if self.done else f"failed (exit code {self.code})")


def table_text(tasks: Sequence[Task]) -> str:
    """Return the table of tasks as tab-separated text; the task of index n stands in line n + 1."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
    writer.writerow(COLUMNS)
    for task in tasks:
        writer.writerow([task.name, task.participant, task.session or NOT_APPLICABLE, task.scans])
    return text.getvalue()


def read_tasks(table: Path) -> tuple[Task, ...]:
    """Read a table of tasks.

    Raises
    ------
    NoInput
        It cannot be read.
    WrongUsage
        It is not a table of tasks.
    """
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NoInput(f"{table} cannot be read.", "Give the tasks.tsv of a submission.") from error
    rows = [line.split("\t") for line in lines]
    if not rows or tuple(rows[0]) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise WrongUsage(f"{table} is not a table of tasks.", "Give the tasks.tsv of a submission.")
    return tuple(
        Task(participant, "" if session == NOT_APPLICABLE else session, int(scans))
        for _, participant, session, scans in rows[1:]
    )


def read_endings(table: Path) -> tuple[Ending, ...]:
    """Return how the tasks of a submission ended, in the order of its table."""
    folder = table.parent / ENDINGS
    return tuple(Ending(task, _exit_code(folder / task.name)) for task in read_tasks(table))


def note_ending(folder: Path, ending: Ending) -> None:
    """Write down how a task ended, as the scripts do."""
    write_text(folder / ENDINGS / ending.task.name, f"{ending.code}\n")


def _exit_code(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
