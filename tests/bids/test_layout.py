"""The index of pybids: what is in it, what a query means, where it is kept, and what it must not do."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from qsmxt_app.bids import layout as layout_module
from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.layout import DATABASE, files, open_layout
from qsmxt_app.bids.selection import Selection, read_bids_filter
from qsmxt_app.errors import UnusableData, WrongUsage


def _stems(raw, database_dir=None, **selection):
    found = find_acquisitions(open_dataset(raw.root, database_dir), Selection(**selection))
    return [acquisition.stem for acquisition in found.acquisitions]


def test_only_images_and_sidecars_of_the_selected_participants_are_indexed(raw):
    for name in ("code/a.json", "sub-01/func/sub-01_bold.nii.gz", "sub-01/anat/deep/sub-01_T1w.nii.gz"):
        (raw.root / name).parent.mkdir(parents=True, exist_ok=True)
        (raw.root / name).touch()
    (raw.root / "MEGRE.json").write_text("{}")
    indexed = {path.relative_to(raw.root).as_posix() for path in files(open_layout(raw.root, ["01"]), {})}
    anat = {path.relative_to(raw.root).as_posix() for path in (raw.root / "sub-01" / "anat").glob("sub-*")}
    assert indexed == anat | {"MEGRE.json", "dataset_description.json"}


def test_entities_are_read_from_the_name_and_not_from_folders_above(tmp_path, raw):
    moved = tmp_path / "sub-99" / "ses-X" / "func" / "run-3_part-mag"
    moved.parent.mkdir(parents=True)
    raw.root.rename(moved)
    raw.root = moved
    assert _stems(raw) == ["sub-01", "sub-02"]
    index = open_layout(moved, ())
    assert (
        files(index, {"session": "X"}) == files(index, {"run": 3}) == files(index, {"datatype": "func"}) == []
    )


@pytest.mark.parametrize(
    ("query", "stems"),
    [
        ({"acquisition": "*"}, ["sub-1_acq-fast_run-01", "sub-1_acq-slow"]),
        ({"acq": None}, ["sub-1"]),
        ({"acquisition": [None, "slow"]}, ["sub-1_acq-slow", "sub-1"]),
        ({"acquisition": "^(fast|slow)$", "regex_search": True}, ["sub-1_acq-fast_run-01", "sub-1_acq-slow"]),
        ({"run": 1}, ["sub-1_acq-fast_run-01"]),
        ({"suffix": "MESE"}, []),
    ],
)
def test_filters_mean_what_they_mean_to_fmriprep(empty_dataset, tmp_path, query, stems):
    for stem in ("sub-1_acq-fast_run-01", "sub-1_acq-slow", "sub-1"):
        empty_dataset.megre(stem)
    empty_dataset.echo("sub-1_acq-other", None, "T2starw")
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"megre": query, "t2starw": {"acquisition": "other"}}))
    found = _stems(empty_dataset, bids_filters=read_bids_filter(path))
    assert found == [*stems, "sub-1_acq-other"]


def test_a_flag_and_the_filter_file_must_not_contradict_each_other(raw):
    with pytest.raises(WrongUsage, match="run- is selected by --bids-filter-file and by a flag"):
        _stems(raw, runs=["1"], bids_filters={"qsm": {"run": 2}})


def test_a_saved_index_covers_everybody_and_is_used_again(raw, tmp_path, monkeypatch):
    database = tmp_path / "index"
    assert _stems(raw, database, participants=["01"]) == ["sub-01"]
    assert [path.name for path in database.iterdir()] == [DATABASE]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    monkeypatch.setattr(layout_module, "_index", lambda *_: pytest.fail("indexed again"))
    assert _stems(raw, database) == ["sub-01", "sub-02"]
    assert _stems(raw, database, participants=["02"]) == ["sub-02"]


def test_an_index_that_another_program_made_is_used(raw, tmp_path):
    from bids.layout import BIDSLayout

    raw.megre("sub-03_acq-x_run-02")
    BIDSLayout(raw.root, validate=False, database_path=tmp_path / "index")
    assert _stems(raw, tmp_path / "index") == ["sub-01", "sub-02", "sub-03_acq-x_run-02"]
    assert _stems(raw, tmp_path / "index", acquisitions=["x"], runs=["2"]) == ["sub-03_acq-x_run-02"]


def test_an_index_that_cannot_be_used_is_named(raw, tmp_path):
    database = tmp_path / "index"
    database.mkdir()
    (database / DATABASE).write_text("not a database, and longer than a header of one" * 10)
    with pytest.raises(WrongUsage, match="not an index of pybids"):
        _stems(raw, database)
    shutil.rmtree(database)
    _stems(raw, database)
    shutil.copytree(raw.root, tmp_path / "other")
    raw.root = tmp_path / "other"
    with pytest.raises(WrongUsage, match=r"the index of .*raw"):
        _stems(raw, database)
    with pytest.raises(WrongUsage, match="lies inside the raw dataset"):
        _stems(raw, raw.root / "index")


def test_pybids_is_not_imported_before_a_dataset_is_opened():
    code = "import sys, qsmxt_app.cli, qsmxt_app.bids.dataset; sys.exit('bids' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _loop(root):
    for name in ("a", "b"):
        (root / "sub-01" / "anat" / name).symlink_to(root)
        (root / "sub-01" / f"ses-{name}").symlink_to(root / "sub-02")
        (root / f"sub-{name}").symlink_to(root)


def _patterns(root):
    # of pybids: entities of the dataset's own, read by patterns that never end
    content = {"name": "evil", "entities": [{"name": "subject", "pattern": "(a|b-0|sub)-(([0-9]+)+)+z"}]}
    for folder in (root, root / "sub-01", root / "sub-01" / "anat"):
        (folder / "layout_config.json").write_text(json.dumps(content))


def _pipes(root):
    os.mkfifo(root / "participants.json")
    os.mkfifo(root / "layout_config.json")
    os.mkfifo(root / "sub-01" / "anat" / "sub-01_T2w.json")


def _names(root):
    (root / "sub-01" / "anat" / os.fsdecode(b"sub-01_acq-\xe9_MEGRE.nii.gz")).touch()
    (root / os.fsdecode(b"sub-\xe9")).mkdir()


@pytest.mark.parametrize("harm", [_loop, _patterns, _pipes, _names])
def test_a_hostile_dataset_is_read_all_the_same(raw, harm):
    harm(raw.root)
    assert _stems(raw, participants=["01", "02"]) == ["sub-01", "sub-02"]


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 100_000, None, "big"])
def test_a_description_that_is_none_is_named(raw, content):
    path = raw.root / "dataset_description.json"
    path.unlink()
    if content is None:
        os.mkfifo(path)
    elif content == "big":
        with path.open("w") as stream:
            stream.truncate(1 << 40)
    else:
        path.write_text(content)
    with pytest.raises(UnusableData, match=r"dataset_description\.json"):
        _stems(raw)


def test_a_sidecar_that_is_a_pipe_or_too_large_spoils_one_scan_only(raw):
    path = raw.file("sub-01_echo-1_part-mag_MEGRE.json")
    path.unlink()
    os.mkfifo(path)
    found = find_acquisitions(open_dataset(raw.root))
    assert [acquisition.stem for acquisition in found.acquisitions] == ["sub-02"]
    assert "not a regular file" in found.problems[0].message
