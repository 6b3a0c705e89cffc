"""`group --model`: checked before a run, fitted to its tables, and written beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from group_data import write_dataset, write_record

from qsmxt_app.cli import main
from qsmxt_app.records.group import read_group_record

MODEL = "group_desc-model_stats.tsv"
HEAD = ("index", "name", "hemisphere", "map", "mean", "median", "confidence", "atlas", "units")


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    """Two groups of 12 people with values of three regions, of which one differs, and empty images."""
    raw, out = write_dataset(tmp_path, {})
    lines = ["participant_id\tgroup\tage\tname"]
    for number in range(24):
        label, patient = f"{number + 1:02d}", number % 2
        lines.append(f"sub-{label}\t{'ab'[patient]}\t{30 + 7 * number % 31}\tname{number}")
        (raw / f"sub-{label}").mkdir()
        wave = 0.01 * ((number * 7 % 24) / 24 - 0.5)
        rows = [
            (1, "putamen", "L", "chi", 0.05 + wave + 0.02 * patient, 0.05, "good", "x", "ppm"),
            (2, "putamen", "R", "chi", 0.05 - wave, 0.05, "good", "x", "ppm"),
            (3, "thalamus", "L", "r2star", 20 + 100 * wave, 20, "good", "x", "1/s"),
        ]
        anat = out / f"sub-{label}" / "anat"
        anat.mkdir(parents=True)
        files = {
            name: f"sub-{label}/anat/sub-{label}_{name}.nii"
            for name in ("chi", "r2star", "magnitude", "mask")
        }
        files["stats"] = f"sub-{label}/anat/sub-{label}_desc-qsm_stats.tsv"
        for file in files.values():
            (out / file).touch()
        (out / files["stats"]).write_text("".join("\t".join(map(str, row)) + "\n" for row in (HEAD, *rows)))
        write_record(out, {"sub": label}, {"status": "done", "outputs": files})
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    return raw, out


def run(study: tuple[Path, Path], *arguments: str) -> int:
    return main([*map(str, study), "group", "--no-template", *arguments])


def test_results_are_in_the_table_the_record_the_page_and_the_terminal(study, capsys) -> None:
    assert run(study, "--model", "chi ~ group + age", "--model-correction", "holm") == 0
    with (study[1] / MODEL).open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    left = next(row for row in rows if (row["hemisphere"], row["term"]) == ("L", "group[b]"))
    assert float(left["ci_low"]) < 0.02 < float(left["ci_high"])
    assert float(left["p_corrected"]) < 0.05
    assert len(rows) == 2 * 3
    sidecar = json.loads((study[1] / MODEL).with_suffix(".json").read_text())
    assert sidecar["Model"]["ReferenceLevels"] == {"group": "a"}
    record = read_group_record(study[1])
    assert record is not None
    assert record.model is not None
    assert record.model.differing == {"group[b]": ("putamen left",), "age": ()}
    assert "1 of 2 regions: putamen left" in (study[1] / "group.html").read_text()
    assert "Holm" in (study[1] / "logs" / "CITATION.md").read_text()
    said = capsys.readouterr().err
    assert "group[b]: putamen left (p < 0.05 after holm over regions)" in said


@pytest.mark.parametrize(
    ("arguments", "formula"),
    [(["--model-formula", "chi ~ group"], "chi ~ group"), (["--model", "networks/net.onnx"], None)],
)
def test_a_model_may_be_a_network_of_the_participant_level(study, arguments, formula) -> None:
    assert run(study, "-q", *arguments) == 0
    record = read_group_record(study[1])
    assert record is not None
    assert (record.model.formula if record.model else None) == formula


def test_other_maps_and_medians_are_compared_too(study) -> None:
    assert run(study, "-q", "--model", "r2star ~ age") == 0
    assert "thalamus" in (study[1] / MODEL).read_text()
    # the medians of this study are all the same
    assert run(study, "-q", "--model", "chi ~ age", "--model-value", "median") == 1
    record = read_group_record(study[1])
    assert record is not None
    assert "all values are the same" in record.failures[0].message


@pytest.mark.parametrize(
    ("formula", "code", "said"),
    [
        ("chi ~ grp", 64, "no column grp"),
        ("chi ~ open('x')", 64, "not allowed"),
        ("t2star ~ group", 64, "no scan has a map t2star. There are: chi, r2star"),
        ("chi ~ name", 65, "too few"),
    ],
)
def test_what_cannot_be_fitted_ends_before_anything_is_written(study, formula, code, said, capsys) -> None:
    assert run(study, "--model", formula) == code
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not (study[1] / "group_stats.csv").exists()


def test_levels_come_from_the_data_dictionary(study) -> None:
    about = {"group": {"Levels": {"b": "control", "a": "patient"}}, "age": "n/a"}
    (study[0] / "participants.json").write_text(json.dumps(about))
    assert run(study, "-q", "--model", "chi ~ group") == 0
    assert "group[a]" in (study[1] / MODEL).read_text()
    (study[0] / "participants.json").write_text("{")
    assert run(study, "-q", "--model", "chi ~ group") == 65


def test_a_dry_run_names_the_model(study, capsys) -> None:
    assert run(study, "--dry-run", "--model", "chi ~ group") == 0
    assert "compared by chi ~ group" in capsys.readouterr().out
