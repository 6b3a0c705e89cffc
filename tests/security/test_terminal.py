"""Nothing that a name or a header holds acts on a terminal or forges a line of a log."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from hostile import texts
from hypothesis import given, settings

from qsmxt_app.settings import Settings
from qsmxt_app.terminal import PlainConsole, PlainFormatter, printable
from qsmxt_app.workflows.outcome import ParticipantOutcome, ScanOutcome, summary_lines
from qsmxt_app.workflows.progress import ProgressDisplay
from qsmxt_app.workflows.run_folder import create_run_folder, log_to, stop_logging


def terminal() -> tuple[PlainConsole, io.StringIO]:
    stream = io.StringIO()
    return PlainConsole(file=stream, force_terminal=True, color_system="truecolor", width=200), stream


def is_plain(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@settings(max_examples=200)
@given(texts)
def test_the_console_shows_text_and_nothing_else(text: str) -> None:
    console, stream = terminal()
    console.print(text)
    shown = stream.getvalue()
    assert is_plain(shown)
    assert shown.rstrip("\n") == printable(text, keep="\n").rstrip("\n")  # markup and emoji codes too


@settings(max_examples=100)
@given(texts)
def test_progress_and_summary_are_plain(text: str) -> None:
    console, stream = terminal()
    display = ProgressDisplay(1, 1.0, verbosity=1, console=console)
    display.note(text)
    display.step(text, text, "start", 1.0)
    display.participant(text, text)
    outcome = ParticipantOutcome("01", (ScanOutcome(text, text, text, 1),))
    for line in summary_lines([outcome], Path("/out/log")):
        console.print(line)
    assert is_plain(stream.getvalue())


@settings(max_examples=100)
@given(texts)
def test_a_line_of_the_log_is_plain(text: str) -> None:
    record = logging.LogRecord("qsmxt", logging.INFO, "", 0, "%s", (text,), None)
    line = PlainFormatter("%(message)s").format(record)
    assert all(char.isprintable() or char in "\n\t" for char in line)


def test_the_log_and_the_settings_of_a_run_are_plain(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path, Settings(), "qsmxt '\x1b[2J\nmask = \"bet\"' \x9b out")
    handler = log_to(folder, 0)
    try:
        logging.getLogger("qsmxt").warning("read %s", "a\x1b]0;title\x07\rb")
    finally:
        stop_logging(handler)
    assert "read a?]0;title??b\n" in folder.log_file.read_text(encoding="utf-8")
    comment, settings_lines = (folder.path / "config.toml").read_text(encoding="utf-8").split("\n", 1)
    assert comment.startswith("# qsmxt '?[2J?mask")
    assert 'mask = "bet"' not in settings_lines.splitlines()
