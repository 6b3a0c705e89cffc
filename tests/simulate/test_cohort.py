"""People have an age, a sex and a group, and the effects that were asked for."""

import csv
import io
from dataclasses import fields

import numpy as np
import pytest

from qsmxt_app.simulate import subject
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
from qsmxt_app.simulate.person import Person, change_chi
from qsmxt_app.simulate.tissues import LABELS, TISSUES


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


def test_only_the_tissue_itself_changes() -> None:
    nobody = Person(**{**dict.fromkeys(field.name for field in fields(Person)), "chi": np.ones(len(TISSUES))})
    expected = np.ones(len(TISSUES))
    expected[LABELS["Left-Putamen"]] += 0.02
    np.testing.assert_allclose(change_chi(nobody, {"Left-Putamen": 0.02}).chi, expected, atol=1e-6)
    assert (nobody.chi == 1).all()


def test_effects_that_are_asked_for_reach_the_person(monkeypatch, tmp_path) -> None:
    class Reached(Exception):
        pass

    def head(seed, index, anatomy, chi_change):
        raise Reached(chi_change)

    monkeypatch.setattr(subject, "_drawn_head", head)
    person = draw_participant(2, 1)
    change = TrueEffects(age={"putamen": 0.001}).of(person)
    with pytest.raises(Reached) as reached:
        main([str(tmp_path / "bids"), "--seed", "2", "--age-effect", "putamen=0.001"])
    assert change
    assert dict(reached.value.args[0]) == change
