"""What the terminal shows while participants are processed: a bar, or plain lines."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from qsmxt_app.terminal import PlainConsole

HEARTBEAT_SECONDS = 60.0


class ProgressDisplay:
    """Follow steps as they start and end.

    Parameters
    ----------
    participants
        Number of participants.
    total_cost
        Sum of the costs of all steps; the time that is left follows from the share that is done.
    verbosity
        Below 0: nothing; 0: a bar, or without a terminal a line per finished step; above: starts too.
    console
        Where it is shown; standard error by default, so that standard output stays free.
    """

    def __init__(
        self, participants: int, total_cost: float, verbosity: int = 0, console: Console | None = None
    ) -> None:
        self.console = console or PlainConsole(stderr=True)
        self._verbosity = verbosity
        self._started = self._last_line = time.monotonic()
        self._total, self._done = total_cost, 0.0
        self._running: dict[str, str] = {}
        self._bar: Progress | None = None
        self._steps = self._people = TaskID(0)
        if self.console.is_terminal and verbosity == 0:
            self._bar = _bar(self.console)
            self._people = self._bar.add_task("participants", total=participants, running="")
            self._steps = self._bar.add_task("steps", total=total_cost, running="")

    def __enter__(self) -> ProgressDisplay:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, scan: str, step: str, status: str, cost: float) -> None:
        """Show that a step of a scan has started ("start"), ended ("end") or failed ("exception")."""
        key = f"{scan} {step}"
        if status == "start":
            self._running[key] = key
        else:
            self._running.pop(key, None)
            self._done += cost
        if self._bar:
            done = 0.0 if status == "start" else cost
            self._bar.update(self._steps, advance=done, running="; ".join(list(self._running)[:3]))
        elif self._verbosity > 0 or (status != "start" and self._verbosity == 0):
            words = {"start": "started", "end": "done", "exception": "failed"}
            self.line(f"{scan}: {step} {words.get(status, status)}")

    def heartbeat(self) -> None:
        """Without a terminal, name the running steps once a minute in which nothing else was shown."""
        quiet = time.monotonic() - self._last_line
        if self._bar or self._verbosity < 0 or not self._running or quiet < HEARTBEAT_SECONDS:
            return
        share = min(1.0, self._done / self._total) if self._total else 0.0
        self.line(f"{share:.0%} done; running: {'; '.join(self._running)}")

    def participant(self, label: str, outcome: str) -> None:
        """Show that a participant is finished."""
        if self._bar:
            self._bar.advance(self._people)
        if self._verbosity >= 0:
            self.line(f"sub-{label}: {outcome}")

    def note(self, text: str) -> None:
        """Show a remark."""
        if self._verbosity >= 0:
            self.line(text)

    def line(self, text: str) -> None:
        """Print one line with the seconds since the start."""
        self._last_line = time.monotonic()
        seconds = self._last_line - self._started
        self.console.print(f"[{seconds:7.1f} s] {text}", markup=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[running]}"),
        console=console,
        transient=True,
    )
