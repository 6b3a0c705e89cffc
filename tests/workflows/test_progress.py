"""What a run shows where there is no terminal."""

import io

from qsmxt_app.terminal import PlainConsole
from qsmxt_app.workflows import progress
from qsmxt_app.workflows.progress import ProgressDisplay


def shown(monkeypatch, verbosity):
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    display = ProgressDisplay(1, 100.0, verbosity, PlainConsole(file=stream))
    display.step("sub_01", "field", "start", 25.0)
    for now[0] in (10.0, 59.0, 61.0, 90.0):
        display.heartbeat()
    display.step("sub_01", "field", "end", 25.0)
    display.step("sub_01", "tgv", "start", 75.0)
    now[0] = 151.0
    display.heartbeat()
    return stream.getvalue().splitlines()


def test_a_line_per_finished_step_and_one_a_minute(monkeypatch):
    assert shown(monkeypatch, 0) == [
        "[   61.0 s] 0% done; running: sub_01 field",
        "[   90.0 s] sub_01: field done",
        "[  151.0 s] 25% done; running: sub_01 tgv",
    ]


def test_quiet_shows_nothing(monkeypatch):
    assert shown(monkeypatch, -1) == []
