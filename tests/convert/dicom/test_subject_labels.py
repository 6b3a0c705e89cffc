"""Labels of people and sessions: two people are never merged, and no label ever changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from qsmxt_app.convert.dicom.header import ScanParameters, header_of
from qsmxt_app.convert.dicom.subject_labels import SavedLabels, label_subjects, study_key
from qsmxt_app.errors import WrongUsage

BLANK = header_of("x", Dataset()).scan


def study(
    patient_id: str,
    date: str = "20240101",
    uid: str = "",
    birth_date: str = "",
    sex: str = "",
    name: str = "",
) -> ScanParameters:
    return replace(
        BLANK,
        patient_id=patient_id,
        study_date=date,
        study_uid=uid or f"1.{date}",
        birth_date=birth_date,
        sex=sex,
        patient_name=name,
    )


def label(
    *studies: ScanParameters, saved_labels: SavedLabels | None = None, **options: object
) -> list[tuple[str, str | None]]:
    labels = label_subjects(studies, SavedLabels() if saved_labels is None else saved_labels, **options)
    return [(v.subject, v.session) for v in (labels.visits[study_key(s)] for s in studies)]


def notes(*studies: ScanParameters) -> tuple[str, ...]:
    return label_subjects(studies, SavedLabels()).notes


def test_a_plain_id_is_the_label_and_dates_are_sessions() -> None:
    first, second, other = study("P1"), study("P1", "20240301"), study("P2", "20250101")
    assert label(second, first, other) == [("P1", "02"), ("P1", "01"), ("P2", "01")]


def test_two_studies_of_one_day_are_one_session() -> None:
    assert label(study("P1", uid="1"), study("P1", uid="2")) == [("P1", "01")] * 2


def test_a_later_date_changes_no_label_even_if_it_is_an_earlier_day() -> None:
    saved_labels = SavedLabels()
    assert label(study("P1", "20240601"), saved_labels=saved_labels) == [("P1", "01")]
    both = study("P1", "20240101"), study("P1", "20240601"), study("P1", "20240901")
    assert label(*both, saved_labels=saved_labels) == [("P1", "02"), ("P1", "01"), ("P1", "03")]
    assert label(study("P1", "20240601"), saved_labels=saved_labels) == [("P1", "01")]


@pytest.mark.parametrize(
    "ids", [("AB-1", "AB_1"), ("ab1", "AB1"), ("A B1", "AB1"), ("Zoë", "Zoe"), ("日本", "中国")]
)
def test_ids_that_would_get_one_label_are_told_apart(ids: tuple[str, str]) -> None:
    found = [subject for subject, _ in label(*(study(i) for i in ids))]
    assert len({subject.casefold() for subject in found}) == 2
    assert all(subject.isalnum() and subject.isascii() for subject in found)
    assert found == [subject for subject, _ in reversed(label(*(study(i) for i in reversed(ids))))]


def test_who_comes_later_gets_the_other_label() -> None:
    saved_labels = SavedLabels()
    (first,) = label(study("AB-1"), saved_labels=saved_labels)
    later = label(study("AB1"), study("AB-1"), saved_labels=saved_labels)
    assert later[1] == first == ("AB1", "01")
    assert later[0][0] not in {"AB1", "ab1"}


def test_one_id_shared_by_people_of_other_birth_or_sex_is_told_apart_and_explained() -> None:
    people = (
        study("7", uid="1", birth_date="19700101", sex="M"),
        study("7", uid="2", birth_date="19900101", sex="F"),
    )
    found = label(*people)
    assert len({subject for subject, _ in found}) == 2
    (note,) = notes(*people)
    assert "shared by 2 people" in note and "--subject-map" in note
    assert "19700101" not in note


def test_a_person_keeps_the_label_when_another_with_the_same_id_arrives() -> None:
    saved_labels = SavedLabels()
    one = study("7", uid="1", birth_date="19700101", sex="M")
    other = study("7", uid="2", birth_date="19900101", sex="F")
    (first,) = label(one, saved_labels=saved_labels)
    assert label(one, other, saved_labels=saved_labels)[0] == first == ("7", "01")
    alone = SavedLabels(
        subjects={k: dict(v) for k, v in saved_labels.subjects.items()}, sessions=saved_labels.sessions
    )
    assert label(other, saved_labels=alone)[0][0] != "7"
    assert label(replace(one, birth_date=""), saved_labels=saved_labels) == [first]


def test_missing_facts_and_spellings_of_the_name_do_not_split_a_person() -> None:
    studies = (
        study("7", uid="1", birth_date="19700101", sex="M", name="Doe^John"),
        study("7", uid="2", birth_date="19700101", sex="", name="DOE JOHN"),
        study("7", uid="3", birth_date="19700101", sex="O", name="J. Doe"),
    )
    assert {subject for subject, _ in label(*studies)} == {"7"}
    assert not notes(*studies)


def test_names_tell_apart_where_nothing_else_is_known() -> None:
    assert len(set(label(study("7", uid="1", name="Doe^John"), study("7", uid="2", name="Roe^Jane")))) == 2
    assert len(set(label(study("7", uid="1", name="Doe^John"), study("7", uid="2", name="DOE^JOHN")))) == 1


def test_two_names_without_birth_dates_are_two_people_though_the_sex_is_the_same() -> None:
    one, two = study("7", uid="1", sex="F", name="Doe^Jane"), study("7", uid="2", sex="F", name="Roe^Ann")
    assert len(set(label(one, two))) == 2
    born = replace(two, birth_date="19700101")
    assert len(set(label(one, born))) == 2


def test_two_names_with_one_birth_date_are_one_person_and_that_is_said() -> None:
    one = study("7", uid="1", birth_date="19700101", sex="F", name="Doe^Jane")
    other = replace(one, study_uid="2", patient_name="Roe^Jane")
    assert len(set(label(one, other))) == 1
    assert ["different names" in note for note in notes(one, other)] == [True]


@pytest.mark.parametrize(
    "identifier",
    ["", "ANONYMOUS", "***", "X", "ANON", "---", "anon", "Anonymized", "0000", "XXXX", "none", "  "],
)
def test_anonymised_studies_are_never_one_person(identifier: str) -> None:
    studies = study(identifier, uid="1.1"), study(identifier, uid="1.2")
    found = label(*studies)
    assert len({subject for subject, _ in found}) == 2
    assert label(studies[0]) == found[:1], "a label must not depend on who else is there"
    (note,) = notes(*studies)
    assert note.startswith("2 studies") and "--subject-map" in note


def test_one_study_uid_for_two_people_does_not_merge_them() -> None:
    people = study("A", uid="1"), study("B", uid="1")
    assert label(*people) == [("A", "01"), ("B", "01")]
    people = study("7", uid="1", birth_date="19700101"), study("7", uid="1", birth_date="19900101")
    assert len(set(label(*people))) == 2


def test_a_pseudonym_is_no_placeholder() -> None:
    studies = study("ANON001"), study("ANON001", "20240301"), study("anon_2")
    assert label(*studies) == [("ANON001", "01"), ("ANON001", "02"), ("anon2", "01")]
    assert not notes(*studies)


def test_labels_from_names() -> None:
    assert label(study("1", name="Müller^Zoë"), subject_from="PatientName") == [("MullerZoe", "01")]


def test_a_long_id_keeps_its_difference() -> None:
    one, two = label(study("A" * 200 + "1"), study("A" * 200 + "2", uid="9"))
    assert one != two and len(one[0]) < 50


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6, unique=True))
def test_different_ids_never_share_a_label(ids: list[str]) -> None:
    cleaned = list(dict.fromkeys(" ".join(i.replace("^", " ").split()) for i in ids))
    found = label(*(study(i, uid=f"1.{n}") for n, i in enumerate(cleaned)))
    assert len({subject.casefold() for subject, _ in found}) == len(cleaned)
    assert all(subject and subject.isascii() and subject.isalnum() for subject, _ in found)


def write_map(folder: Path, text: str) -> Path:
    path = folder / "map.tsv"
    path.write_text(text.replace(",", "\t"))
    return path


def test_a_map_says_who_is_who(tmp_path: Path) -> None:
    path = write_map(
        tmp_path, "PatientID,StudyDate,subject,session\nP1,20240101,sub-01,ses-pre\nP1,20240301,01,post\n"
    )
    studies = study("P1"), study("P1", "20240301"), study("01", uid="5")
    found = label(*studies, subject_map=path)
    assert found[:2] == [("01", "pre"), ("01", "post")]
    assert found[2][0] != "01", "somebody who is not in the map must not become one who is"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("subject,session\n01,a\n", "needs a column"),
        ("patient_id\nP1\n", "needs a column"),
        ("patient_id,subject\nP1,a/b\n", "row 2"),
        ("patient_id,subject\nP1,\n", "row 2"),
        ("patient_id,subject,session\nP1,01,x_y\n", "row 2"),
        ("patient_id,subject\n,01\n", "row 2"),
        ("patient_id,subject\nP1,01\nP1,02\n", "different labels"),
    ],
)
def test_a_map_that_cannot_be_followed_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    path = write_map(tmp_path, text)
    with pytest.raises(WrongUsage, match=words) as error:
        label(study("P1"), subject_map=path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
