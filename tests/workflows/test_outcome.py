from pathlib import Path

import pytest

from qsmxt_app.workflows.outcome import ParticipantOutcome, ScanOutcome, exit_code, summary_lines


def ended(*codes: int) -> ParticipantOutcome:
    scans = (ScanOutcome(f"scan {n}", "tgv", "no memory", code) for n, code in enumerate(codes))
    return ParticipantOutcome("1", tuple(scans))


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([[]], 0),
        ([[0], [0, 0]], 0),
        ([[65], [65, 65]], 65),
        ([[65], [74]], 1),
        ([[0], [65]], 1),
    ],
)
def test_a_code_that_all_failures_share_is_that_of_the_run(codes: list[list[int]], expected: int) -> None:
    assert exit_code([ended(*several) for several in codes]) == expected


def test_a_failure_is_told_with_its_step_and_the_log() -> None:
    lines = summary_lines([ended(0, 1, 1)], Path("run") / "log")
    assert lines[0] == "sub-1: 2 of 3 failed"
    assert lines[1] == "  scan 1: tgv: no memory"
    assert lines[-1] == f"Log to read: {Path('run') / 'log'}"
    assert "Log to read" not in "".join(summary_lines([ended(0)], Path("log")))


def test_one_line_a_cause_of_warnings() -> None:
    outcomes = [
        ParticipantOutcome(f"{n}", (ScanOutcome(f"sub-{n}", warnings=(f"{n}.5 % of the phase is odd",)),))
        for n in range(1, 4)
    ]
    outcomes.append(ParticipantOutcome("4", (ScanOutcome("sub-4"),)))
    lines = summary_lines(outcomes, Path("log"))
    assert lines[0] == "sub-1: done, with warnings"
    assert lines[3] == "sub-4: done"
    assert lines[4:] == ["  Warning: sub-1: 1.5 % of the phase is odd (2 other scans too)"]


def test_many_kinds_are_counted() -> None:
    warnings = tuple(f"kind {letter}" for letter in "abcdefg")
    lines = summary_lines([ParticipantOutcome("1", (ScanOutcome("sub-1", warnings=warnings),))], Path("log"))
    assert lines[-1] == "  and 2 other kinds of warnings, in the reports."
