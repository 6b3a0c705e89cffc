import os

import pytest

from qsmxt_app.convert.conversion_cache import fingerprint, load_outcome, save_outcome


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1").write_text("one")
    return folder


def remembered(tmp_path, source, **settings):
    return load_outcome(tmp_path / "memory", fingerprint(source, settings), [tmp_path / "table"])


def test_only_what_is_unchanged_is_recalled(tmp_path, source):
    table, image = tmp_path / "table", tmp_path / "image"
    table.write_text("x")
    image.write_text("voxels")
    outcome = {"n_images": 3}
    assert remembered(tmp_path, source, a=1) is None
    save_outcome(tmp_path / "memory", fingerprint(source, {"a": 1}), [table, image], outcome)
    assert remembered(tmp_path, source, a=1) == outcome
    assert remembered(tmp_path, source, a=2) is None


@pytest.mark.parametrize(
    "change", ["new", "longer", "touched", "table", "image removed", "new table", "damaged"]
)
def test_any_change_is_noticed(tmp_path, source, change):
    table, image = tmp_path / "table", tmp_path / "image"
    table.write_text("x")
    image.write_text("voxels")
    key = fingerprint(source, {})
    save_outcome(tmp_path / "memory", key, [table, image], {})
    present = [table]
    if change == "new":
        (source / "b").write_text("")
    elif change == "longer":
        (source / "a" / "1").write_text("one more")
    elif change == "touched":
        os.utime(source / "a" / "1", (1, 1))
    elif change == "table":
        table.write_text("edited")
    elif change == "image removed":
        image.unlink()
    elif change == "new table":
        present.append(tmp_path / "table.xlsx")
    else:
        (tmp_path / "memory").write_text('{"key": 3, "files": []}')
    assert load_outcome(tmp_path / "memory", fingerprint(source, {}), present) is None
