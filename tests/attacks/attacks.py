"""All attacks on the command, those that never succeeded too, as a table: held or not, cases, seconds.

    python tests/attacks/attacks.py [--only WORD] [-n 2]

Each attack is a test of its own elsewhere in `tests`, which also runs with all others; `-n` runs them in
several processes. The exit code is that of pytest.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ATTACKS: dict[str, tuple[str, ...]] = {
    "code in the current folder, the data, the output, the work folder": ("security/test_current_folder.py",),
    "pickles and settings that others may write": ("security/test_private_work.py",),
    "connections to the network": ("security/test_no_network.py",),
    "labels, file names and paths": ("security/test_hostile_names.py",),
    "headers, sidecars, tables and DICOM of any content": ("security/test_hostile_files.py",),
    "one bad file among good ones; bombs; pipes and devices": ("security/test_bad_files.py",),
    "tables and descriptions without end": ("bids/test_small_file.py",),
    "text that acts on a terminal or a log": ("security/test_terminal.py",),
    "text that acts on a page": (
        "report/test_participant_page.py::test_hostile_text_in_a_record_stays_text",
        "report/test_participant_page.py::test_names_of_participants_stay_text",
    ),
    "links in the output folder, and folders that must not be written": (
        "bids/test_derivatives.py", "security/test_dry_run.py",
    ),
    "standard error closed, full, or read by nobody": ("security/test_output_streams.py",),
    "settings that no run could use": (
        "test_config.py::test_a_file_with_values_that_no_run_could_use_is_refused",
    ),
    "a validator without end": (
        "bids/test_validation.py::test_a_validator_that_does_not_end_is_given_up",
        "bids/test_validation.py::test_control_characters_do_not_reach_the_terminal",
    ),
    "workers that die, or never begin": (
        "workflows/test_local_executor.py::test_a_lost_worker_fails_its_node_and_nothing_else",
        "workflows/test_local_executor.py::test_a_worker_that_does_not_begin_is_started_again",
        "workflows/test_local_executor.py::test_workers_end_with_a_killed_parent",
        "workflows/test_local_executor.py::test_a_server_of_workers_that_hangs_or_dies_is_replaced",
    ),
    "a limit on processes and threads": (
        "workflows/test_local_executor.py::test_a_limit_on_processes_fails_the_node_with_one_line",
    ),
    "no /proc": ("workflows/test_local_executor.py::test_a_machine_without_proc_is_told_in_one_line",),
    "a work folder that is torn, or of other versions": ("workflows/test_incomplete_nodes.py",),
    "two runs, or two versions, on one output": (
        "workflows/test_output_locks.py",
        "report/test_index_page.py::test_a_record_of_a_newer_version_is_named_and_breaks_no_page",
    ),
    "a clock that jumps": (
        "workflows/test_output_locks.py::test_a_clock_that_jumps_removes_no_file_that_is_being_written",
        "bids/test_lock.py::test_a_holder_elsewhere_that_gives_signs_is_left_alone",
    ),
    "a compiled cache that a power loss tore": ("test_compiled_cache.py",),
    "files that change while they are read": (
        "bids/test_acquisition_images.py::test_a_file_that_changes_while_it_is_read_is_refused",
    ),
    "locks that are held, torn, or of dead processes": ("bids/test_lock.py",),
    "disks that fill up or become read-only": ("bids/test_atomic.py",),
    "no home, no temporary folder, a read-only installation": ("test_environment.py",),
    "kills, a power loss, a quota": ("faults/test_hits.py",),
}  # fmt: skip


class Outcomes:
    """Collects how each test ended, and how long it took."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.states: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of a test."""
        self.seconds[report.nodeid] += report.duration
        if report.when == "call" or report.outcome != "passed":
            worse = report.outcome == "failed" or report.nodeid not in self.states
            self.states[report.nodeid] = report.outcome if worse else self.states[report.nodeid]


def rows(attacks: dict[str, tuple[str, ...]], outcomes: Outcomes) -> list[tuple[str, str, int, float]]:
    """Return for each attack: its name, how it ended, cases, seconds."""
    found = []
    for name, places in attacks.items():
        cases = [
            test for test in outcomes.states if any(test.startswith(f"tests/{place}") for place in places)
        ]
        states = {outcomes.states[test] for test in cases}
        state = "SUCCEEDED" if "failed" in states else "held" if "passed" in states else "not tried"
        found.append((name, state, len(cases), sum(outcomes.seconds[test] for test in cases)))
    return found


def main() -> int:
    """Run the attacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="attacks with this word in their name")
    parser.add_argument("-n", type=int, default=1, metavar="N", help="processes (needs pytest-xdist)")
    options = parser.parse_args()
    attacks = {name: places for name, places in ATTACKS.items() if options.only in name}
    chosen = [str(TESTS / place) for places in attacks.values() for place in places]
    more = ["-n", str(options.n), "--dist", "worksteal"] if options.n > 1 else []
    outcomes = Outcomes()
    root = str(TESTS.parent)
    code = pytest.main(["-q", "--rootdir", root, *more, *chosen], plugins=[outcomes])
    print(f"\n{'attack':70} {'result':10} {'cases':>5} {'s':>6}")
    for name, state, cases, seconds in rows(attacks, outcomes):
        print(f"{name:70} {state:10} {cases:5} {seconds:6.0f}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
