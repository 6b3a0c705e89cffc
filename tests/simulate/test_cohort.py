"""People have an age, a sex and a group, and the effects that were asked for."""

import csv
import io

import numpy as np
import pytest

from qsmxt_app.simulate.cohort import (
    MEAN_AGE,
    OLDEST,
    PARTICIPANTS_JSON,
    YOUNGEST,
    Participant,
    TrueEffects,
    draw_participant,
    participants_tsv,
)
from qsmxt_app.simulate.command import main


def test_groups_are_balanced_and_ages_are_of_adults() -> None:
    people = [draw_participant(1, number) for number in range(1, 25)]
    assert sum(person.group == "patient" for person in people) == 12
    assert {person.sex for person in people} == {"F", "M"}
    assert all(YOUNGEST <= person.age <= OLDEST for person in people)
    assert people == [draw_participant(1, number) for number in range(1, 25)]


def test_effects_add_up_on_both_sides() -> None:
    effects = TrueEffects({"putamen": 0.02}, {"Putamen": -0.004}, {"putamen": 0.001, "red nucleus": 0.002})
    change = effects.of(Participant(MEAN_AGE + 10, "M", "patient"))
    assert change == pytest.approx(
        {"Left-Putamen": 0.026, "Right-Putamen": 0.026, "Left-Red-Nucleus": 0.02, "Right-Red-Nucleus": 0.02}
    )
    assert effects.of(Participant(MEAN_AGE, "F", "control")) == {}


def test_table_has_the_columns_of_its_dictionary() -> None:
    (row,) = csv.DictReader(
        io.StringIO(participants_tsv({"sub-01": Participant(31, "F", "control")})), delimiter="\t"
    )
    assert row == {"participant_id": "sub-01", "age": "31", "sex": "F", "group": "control"}
    assert PARTICIPANTS_JSON.keys() == row.keys() - {"participant_id"}


@pytest.mark.parametrize(
    ("given", "said"), [("putmen=0.02", "no tissue putmen"), ("putamen", "not a tissue and a number")]
)
def test_effects_that_cannot_be_are_refused_in_one_line(given, said, tmp_path, capsys) -> None:
    try:
        code = main([str(tmp_path / "out"), "--group-effect", given])
    except SystemExit as stopped:
        code = stopped.code
    message = capsys.readouterr().err
    assert code == 64
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_only_the_tissue_itself_changes(person) -> None:
    from qsmxt_app.simulate.person import change_chi
    from qsmxt_app.simulate.tissues import LABELS

    changed = change_chi(person, {"Left-Putamen": 0.02}).chi - person.chi
    expected = np.zeros(len(changed))
    expected[LABELS["Left-Putamen"]] = 0.02
    np.testing.assert_allclose(changed, expected, atol=1e-6)
