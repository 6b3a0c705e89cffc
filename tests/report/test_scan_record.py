import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsmxt_app.report.findings import MapFacts, find
from qsmxt_app.report.methods import methods_of
from qsmxt_app.report.scan_record import output_path, parse_record, read_record

KEYS = st.sampled_from(
    [
        *("stem", "status", "inputs", "settings", "mask", "field", "tgv", "outputs", "timings", "memory_mb"),
        *("warnings", "errors", "software", "command", "echo_times", "voxel_size", "history", "converged"),
        *("iterations", "step", "message", "mask_erosion", "tgv_alpha", "reference", "qsmxt"),
    ]
)
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(ANYTHING)
def test_any_json_is_read_and_described_without_an_exception(content: object) -> None:
    record = parse_record(content, "sub-01")
    find(record, MapFacts())
    assert methods_of(record).paragraph
    assert record.title


@pytest.mark.parametrize("content", ["", "{", "\x00", "[" * 100000])
def test_a_damaged_record_reads_as_a_failure_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sub-01_run-2_desc-qsm_record.json"
    path.write_text(content)
    record = read_record(path)
    assert record.failed
    assert record.stem == "sub-01_run-2"
    assert path.name in record.errors[0].message


def test_titles_are_words() -> None:
    assert parse_record({}, "sub-01_ses-A_acq-fast_run-2").title == "Session A, acquisition fast, run 2"
    assert parse_record({}, "sub-01").title == "QSM acquisition"


@pytest.mark.parametrize("named", ["../secret.nii", "/etc/passwd", "", None, 3, "missing.nii"])
def test_files_outside_the_output_folder_are_not_read(tmp_path: Path, named: object) -> None:
    (tmp_path / "secret.nii").touch()
    folder = tmp_path / "out"
    folder.mkdir()
    record = parse_record({"outputs": {"chi": named}}, "sub-01")
    assert output_path(folder, record, "chi") is None


def test_errors_may_be_plain_text() -> None:
    content = json.loads('{"errors": ["no phase", {"step": "tgv", "message": "failed", "log": "logs/x"}]}')
    first, second = parse_record(content, "sub-01").errors
    assert first.message == "no phase"
    assert (second.step, second.log) == ("tgv", "logs/x")
