from pathlib import Path

from qsmxt_app.workflows.outcome import ParticipantOutcome, ScanOutcome, summary_lines


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
