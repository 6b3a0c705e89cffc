"""Ratings of scans, and who the group leaves out for them."""

import json

import pytest

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.group.ratings import left_out, read_ratings
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.study_level.inputs import read_study

HEAD = "participant_id\tscan\trating\tcomment\n"


@pytest.fixture
def ratings(tmp_path):
    folder = tmp_path / "out" / "ratings"
    folder.mkdir(parents=True)
    (folder / "sub-01_ratings.tsv").write_text(HEAD + "sub-01\tsub-01_run-1\tbad\tmoved a lot\n")
    (folder / "sub-02_ratings.tsv").write_text(
        HEAD + "sub-02\tsub-02_run-1\tdoubtful\tn/a\nsub-02\tsub-02_run-2\tgood\tn/a\n"
    )
    return folder


def test_bad_and_worse_than_doubtful(ratings):
    found = read_ratings(ratings)
    assert {scan: one.rating for scan, one in found.items()} == {
        "sub-01_run-1": "bad", "sub-02_run-1": "doubtful", "sub-02_run-2": "good",
    }  # fmt: skip
    assert left_out(found, "bad").keys() == {"sub-01_run-1"}
    assert left_out(found, "doubtful").keys() == {"sub-01_run-1", "sub-02_run-1"}
    assert str(found["sub-01_run-1"]) == "rated bad: moved a lot"


def test_what_cannot_be_understood_is_named(ratings, tmp_path):
    with pytest.raises(NoInput, match="nowhere"):
        read_ratings(tmp_path / "nowhere")
    (ratings / "sub-03.tsv").write_text(HEAD + "sub-01\tsub-01_run-1\tgood\tn/a\n")
    with pytest.raises(UnusableData, match=r"sub-01_run-1 is rated good, and bad elsewhere"):
        read_ratings(ratings)
    (ratings / "sub-03.tsv").write_text(HEAD + "sub-03\tsub-03\tawful\tn/a\n")
    with pytest.raises(UnusableData, match="'awful' of 'sub-03'"):
        read_ratings(ratings)


def test_the_group_leaves_out_who_was_rated_bad_and_says_why(ratings, tmp_path):
    out = ratings.parent
    for stem in ("sub-01_run-1", "sub-02_run-1", "sub-02_run-2"):
        figures, anat = (out / stem[:6] / name for name in ("figures", "anat"))
        for folder in (figures, anat):
            folder.mkdir(parents=True, exist_ok=True)
        names = {key: f"sub-{stem[4:6]}/anat/{stem}_{key}.nii.gz" for key in ("chi", "magnitude", "mask")}
        for name in names.values():
            (out / name).write_bytes(b"")
        record = {"version": 2, "stem": stem, "status": "done", "outputs": names}
        (figures / f"{stem}_desc-qsm_record.json").write_text(json.dumps(record))
    kept = {}
    for choice in (None, "bad", "doubtful"):
        study = read_study(out, tmp_path, ["01", "02"], Settings(exclude_rated=choice))
        kept[choice] = [scan.stem for scan in study.scans]
    assert kept == {
        None: ["sub-01_run-1", "sub-02_run-1", "sub-02_run-2"],
        "bad": ["sub-02_run-1", "sub-02_run-2"],
        "doubtful": ["sub-02_run-2"],
    }
    assert study.missing[0].reason == "rated bad: moved a lot"
