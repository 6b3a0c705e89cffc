"""The table of attacks names tests that exist, and every test of `tests/security`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from attacks import ATTACKS, TESTS, Outcomes, rows


def test_every_attack_is_there() -> None:
    places = [place for several in ATTACKS.values() for place in several]
    for place in places:
        file, _, test = place.partition("::")
        assert f"def {test}" in (TESTS / file).read_text(encoding="utf-8"), place
    listed = {TESTS / place.partition("::")[0] for place in places}
    assert set((TESTS / "security").glob("test_*.py")) <= listed


def test_the_page_on_security_has_a_row_for_each_attack() -> None:
    page = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [
        line.split("|")[1].strip() for line in page.partition("## Attacks")[2].splitlines() if "|" in line
    ]
    assert rows[2:] == list(ATTACKS)


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        (["passed", "skipped"], "held"),
        (["passed", "failed"], "SUCCEEDED"),
        (["skipped"], "not tried"),
        ([], "not tried"),
    ],
)
def test_one_case_that_succeeds_is_told(ended: list[str], state: str) -> None:
    outcomes = Outcomes()
    for number, outcome in enumerate(ended):
        for when in ("setup", "call", "teardown"):
            report = SimpleNamespace(
                nodeid=f"tests/a/test_b.py::test_c[{number}]", when=when, duration=0.5,
                outcome=outcome if when == "call" else "passed",
            )  # fmt: skip
            outcomes.pytest_runtest_logreport(report)  # type: ignore[arg-type]
    ((name, found, cases, seconds),) = rows({"attack": ("a/test_b.py",)}, outcomes)
    assert (name, found, cases, seconds) == ("attack", state, len(ended), 1.5 * len(ended))
