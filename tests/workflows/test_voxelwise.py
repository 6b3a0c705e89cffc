"""`group --model-voxelwise`: from finished maps to statistical maps, clusters and the page."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from group_data import Head, write_dataset, write_scan

from qsmxt_app.cli import main
from qsmxt_app.records.group import read_group_record

OPTIONS = ("--model", "chi ~ group", "--model-voxelwise", "--model-permutations", "30")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Five controls and five patients, whose nuclei hold more iron."""
    labels = [f"{number:02d}" for number in range(1, 11)]
    raw, out = write_dataset(tmp_path_factory.mktemp("voxels"), {label: [] for label in labels})
    for number, label in enumerate(labels):
        iron = 1 + 1.2 * (number % 2) + 0.05 * (number % 3)
        write_scan(out, {"sub": label}, Head(1, iron), (8.0, 8.0, 8.0), noise=number)
    assert main([*map(str, (raw, out)), "group", "-q", "--template-rounds", "0", *OPTIONS]) == 0
    return raw, out


def test_clusters_are_where_the_groups_differ(study: tuple[Path, Path]) -> None:
    _, out = study
    with (out / "group_desc-voxelwise_clusters.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert rows
    assert all(row["term"] == "group[patient]" for row in rows)
    assert float(rows[0]["p"]) < 0.05
    assert {row["peak_region"] for row in rows} & {"nucleus", "left putamen", "right putamen"}
    record = read_group_record(out)
    assert record
    assert record.voxelwise
    assert record.voxelwise.clusters == {"group[patient]": len(rows)}
    assert record.voxelwise.participants == 10


def test_maps_of_statistics_are_written_and_shown(study: tuple[Path, Path]) -> None:
    _, out = study
    maps = {
        name: nib.nifti1.load(
            out / "tpl-study" / "stats" / f"tpl-study_contrast-groupPatient_stat-{name}_statmap.nii.gz"
        ).get_fdata()
        for name in ("effect", "t", "p")
    }
    significant = maps["p"] < 0.05
    assert significant.any()
    assert np.array_equal(np.sign(maps["t"][significant]), np.sign(maps["effect"][significant]))
    assert maps["p"].min() == pytest.approx(1 / 31, rel=1e-3)
    page = (out / "group.html").read_text()
    section = page[page.index('<section id="voxelwise">') :]
    section = section[: section.index('<section id="values">')]
    assert 'class="positive"' in section
    assert "group[patient]" in section
    assert "30 of each term" in section
    assert "threshold-free cluster enhancement" in (out / "logs" / "CITATION.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model-voxelwise",), "needs a model"),
        (("--model", "chi ~ group", "--model-voxelwise", "--no-template"), "in the template"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_run(
    tmp_path: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, out = write_dataset(tmp_path, {"01": []})
    write_scan(out, {"sub": "01"}, Head(1, 1), (8.0, 8.0, 8.0))
    assert main([*map(str, (raw, out)), "group", "-q", *arguments]) == 64
    assert words in capsys.readouterr().err
