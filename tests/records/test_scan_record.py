"""Records: what is written is read back; what cannot be understood gives one clear line."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsmxt_app.records.group import (
    GROUP_RECORD,
    GroupRecord,
    RegionalModel,
    Round,
    TemplateResult,
    read_group_record,
)
from qsmxt_app.records.json_file import UnreadableRecord, write_record
from qsmxt_app.records.quality import Measure
from qsmxt_app.records.scan import (
    VERSION,
    History,
    Inputs,
    InversionResult,
    ScanRecord,
    Segmentation,
    StepError,
    parse_record,
    read_record,
    record_path,
)
from qsmxt_app.report.findings import find
from qsmxt_app.report.methods import describe_methods

KEYS = st.sampled_from([field.name for field in dataclasses.fields(ScanRecord)] + ["schema", "tgv"])
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(ANYTHING)
def test_any_json_is_described_or_refused(content: object) -> None:
    try:
        record = parse_record(content)
    except UnreadableRecord as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    find(record)
    assert describe_methods(record).paragraph
    assert record.title


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    record = ScanRecord(
        stem="sub-01_run-2",
        entities={"sub": "01", "run": "2"},
        status="failed",
        inputs=Inputs(("a.nii",), (0.004, 0.008), 3.0, (1.0, 1.0, 2.0), (4, 5, 6), sidecar={"FlipAngle": 15}),
        settings={"two_pass": True, "tgv_alpha": [0.1, 0.2]},
        inversion=InversionResult(10, False, history=History((1, 10), (0.5, None), (0.1, 0.2))),
        maps={"relaxation": {"r2star_median": 20.0}},
        segmentation=Segmentation("failed", errors=(StepError("label", "no labels", "logs/x"),)),
        timings={"masks": 1.5},
        quality={"streaking": Measure(1.0, "1", (1.5, 3.0), "good", "Streaking", "Power.")},
    )
    path = record_path(tmp_path, record)
    assert path == tmp_path / "sub-01" / "figures" / "sub-01_run-2_desc-qsm_record.json"
    path.parent.mkdir(parents=True)
    write_record(record, path)
    assert read_record(path) == record
    assert json.loads(path.read_text())["version"] == VERSION


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "malformed|truncated"),
        ("{", "truncated"),
        ("\x00", "malformed"),
        ("[" * 100000, "recursion"),
        ('{"version": 3, "stem": "sub-01"}', "it is of version 3, and this version of qsmxt reads version 2"),
        ('{"version": 2, "stem": "sub-01", "mask": {"volume_ml": "x"}}', r"float.* at `\$.*volume_ml`"),
        ('{"version": 2}', "stem"),
    ],
)  # fmt: skip
def test_a_damaged_or_other_record_reads_as_one_failure_that_names_the_file(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "sub-01_run-2_desc-qsm_record.json"
    path.write_text(content)
    record = read_record(path)
    assert record.failed
    assert record.stem == "sub-01_run-2"
    assert len(find(record)) == 1
    (error,) = record.errors
    assert path.name in error.message
    assert re.search(told, error.message)


def test_version_1_is_read() -> None:
    old = {
        "schema": 1,
        "stem": "sub-01",
        "status": "done",
        "offsets": {"removed": True},
        "preset": {},
        "tgv": {"iterations": 300, "converged": True, "reference": "mean", "reference_value_ppm": 0.01,
                "chi_noise_median_ppm": 0.004, "history": {"iteration": [1], "chi_change": [0.1],
                                                           "equation_residual": [0.2]}},
        "tgv_reliable": {"skipped": "the masks of both passes are equal"},
        "segmentation": {"status": "none", "reason": "--segmentation none", "warnings": []},
    }  # fmt: skip
    record = parse_record(old)
    assert record.inversion == InversionResult(300, True, history=History((1,), (0.1,), (0.2,)))
    assert record.inversion_reliable.skipped
    assert (record.reference.reference, record.reference.reference_value_ppm) == ("mean", 0.01)
    assert record.maps["chi_noise"] == {"chi_noise_median_ppm": 0.004}


def test_titles_are_words() -> None:
    assert ScanRecord(stem="sub-01_ses-A_acq-fast_run-2").title == "Session A, acquisition fast, run 2"
    assert ScanRecord(stem="sub-01").title == "QSM acquisition"


@pytest.mark.parametrize("named", ["../secret.nii", "/etc/passwd", "", "missing.nii"])
def test_files_outside_the_output_folder_are_not_read(tmp_path: Path, named: str) -> None:
    (tmp_path / "secret.nii").touch()
    folder = tmp_path / "out"
    folder.mkdir()
    assert ScanRecord(stem="sub-01", outputs={"chi": named}).output(folder, "chi") is None


def test_the_record_of_the_group_is_read_back_and_version_1_too(tmp_path: Path) -> None:
    assert read_group_record(tmp_path) is None
    template = TemplateResult("study", participants={"sub-01": ("sub-01",)}, rounds=(Round(0.1, 0.2),))
    record = GroupRecord(status="done", template=template, failures=(StepError("deform", "failed"),))
    model = RegionalModel("chi ~ group", effects=("group[b]",), differing={"group[b]": ("putamen left",)})
    record = dataclasses.replace(record, model=model)
    (tmp_path / "figures").mkdir()
    write_record(record, tmp_path / GROUP_RECORD)
    assert read_group_record(tmp_path) == record
    old = {"schema": 1, "template": {}, "mixtures": [{"what": "preset", "who": "sub-01 x, sub-02 y"}]}
    (tmp_path / GROUP_RECORD).write_text(json.dumps(old))
    read = read_group_record(tmp_path)
    assert read is not None
    assert read.template is None
    assert read.inconsistent_settings[0].what == "preset"
    (tmp_path / GROUP_RECORD).write_text('{"version": 2, "missing": "no"}')
    read = read_group_record(tmp_path)
    assert read is not None
    assert "missing" in read.failures[0].message
