"""Names of folders, files and people never lead out of the output folder, nor to a shell."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hostile import PIECES, file_names, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.derivatives import derivative_path
from qsmxt_app.bids.entities import build_name, parse_name
from qsmxt_app.bids.selection import select_labels
from qsmxt_app.cli import main
from qsmxt_app.convert.naming import legal_label
from qsmxt_app.errors import QsmxtError

LABEL = re.compile(r"[0-9A-Za-z+]+")
labels = st.one_of(texts, st.from_regex(LABEL, fullmatch=True))
PARTS = ("sub-01", "_ses-1", "_echo-1", "_part-mag", "_MEGRE", ".nii.gz", ".json")


@settings(max_examples=300)
@given(texts)
def test_a_label_is_letters_and_digits_or_an_error(text: str) -> None:
    assert LABEL.fullmatch(legal_label(text) or "0")
    for key in ("sub", "ses", "acq", "desc", "from"):
        try:
            name = build_name({"sub": "01", key: text}, "Chimap", ".nii.gz")
        except QsmxtError:
            continue
        assert LABEL.fullmatch(text)
        assert "/" not in name


@settings(max_examples=300)
@given(st.lists(st.one_of(st.sampled_from(PARTS), texts), max_size=7).map("".join))
def test_a_name_that_is_taken_apart_holds_labels_only(name: str) -> None:
    parsed = parse_name(name)
    if parsed is not None:
        assert all(LABEL.fullmatch(label) for label in parsed.entities.values())
        assert LABEL.fullmatch(parsed.suffix)
        assert not re.search(r"[^0-9A-Za-z.]|\.\.", parsed.extension)


@settings(max_examples=40, deadline=None)
@given(st.lists(file_names, min_size=1, max_size=4), st.lists(file_names, min_size=1, max_size=3))
def test_a_dataset_of_hostile_names_stays_in_its_place(people: list[str], files: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        for person in ["01", *people]:
            anat = raw / f"sub-{person}"[:200] / "anat"
            anat.mkdir(parents=True, exist_ok=True)
            for file in files:
                anat.joinpath(f"sub-{person[:100]}_{file}_MEGRE.nii.gz").write_bytes(b"")
                anat.joinpath(f"sub-{person[:100]}_part-phase_{file}.nii").write_bytes(b"")
        dataset = open_dataset(raw)
        assert all(LABEL.fullmatch(subject) for subject in dataset.subjects)
        try:
            found = find_acquisitions(dataset)
        except QsmxtError:
            return
        for problem in found.problems:
            assert LABEL.fullmatch(problem.subject)


@settings(max_examples=200)
@given(labels, labels, labels)
def test_a_derivative_lies_below_its_participant(subject: str, session: str, desc: str) -> None:
    out = Path("/out")
    try:
        path = derivative_path(out, {"sub": subject, "ses": session}, "Chimap", desc=desc)
    except QsmxtError:
        return
    assert path.parent == out / f"sub-{subject}" / f"ses-{session}" / "anat"
    assert ".." not in path.parts


@settings(max_examples=100)
@given(texts)
def test_a_selection_is_taken_literally(text: str) -> None:
    try:
        assert set(select_labels("sub", [text], ["01", "02"])) <= {"01", "02"}
    except QsmxtError as error:
        assert error.exit_code in (18, 64)


@pytest.mark.parametrize("piece", [piece for piece in PIECES if "\x00" not in piece and piece != "\ud800"])
def test_a_message_keeps_hostile_names_off_the_terminal(
    piece: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main([f"{tmp_path}/raw {piece}", f"{tmp_path}/out", "participant", "--participant-label", piece])
    said = capsys.readouterr()
    assert code in (64, 66)
    assert said.out == ""
    assert all(char.isprintable() for char in said.err.replace("\n", ""))
    assert sorted(tmp_path.rglob("*")) == []
