"""A folder of DICOM files as a whole: from files to images, and every file accounted for."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_writer import echoes, gradient_echo, on_written_grid, phase_difference, t1w, truncate, write_all
from sorting import review_rows

from qsmxt_app.convert.dataset import prepare_dataset, write_dataset
from qsmxt_app.convert.dicom import DicomConversion, convert_dicom
from qsmxt_app.convert.table import read_table
from qsmxt_app.settings import Settings


def convert(source: Path, output: Path) -> DicomConversion:
    """Convert and write, as the command does."""
    (output / "sourcedata").mkdir(parents=True, exist_ok=True)
    conversion = convert_dicom(source, output / "sourcedata" / "conversion", output / "work", Settings(), 2)
    raw = output / "sourcedata" / "raw"
    raw.mkdir(exist_ok=True)
    prepare_dataset(raw)
    conversion.record(write_dataset(conversion.images, raw))
    return conversion


def scatter(source: Path, target: Path, seed: int) -> None:
    """Copy all files of a tree into one folder, shuffled, under names that say nothing."""
    target.mkdir(exist_ok=True)
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    random.Random(seed).shuffle(paths)
    for number, path in enumerate(paths, start=len(list(target.iterdir()))):
        shutil.copyfile(path, target / f"{number:05d}")


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "sourcedata" / "raw").rglob("sub-*.nii.gz"))


def test_voxels_names_and_accounts_of_a_mixed_folder(tmp_path: Path) -> None:
    shape, times = (12, 10, 6), (0.004, 0.008)
    magnitude, phase = echoes(shape, times)
    scan = gradient_echo("siemens", magnitude, phase, times, patient_id="A", number=5)
    anatomy = t1w("siemens", magnitude[..., 0], patient_id="A")
    field_map = phase_difference("siemens", magnitude, phase, times, patient_id="B")
    paths = write_all(tmp_path / "in", [*scan, anatomy, *field_map])
    (tmp_path / "in" / "report.pdf").write_bytes(b"%PDF")
    cut = write_all(tmp_path / "in" / "cut", [t1w("siemens", magnitude[..., 0], patient_id="A", number=9)])
    truncate(cut[2])
    conversion = convert(tmp_path / "in", tmp_path / "out")
    assert names(tmp_path / "out") == [
        "sub-A_ses-01_T1w.nii.gz",
        "sub-A_ses-01_echo-1_part-mag_MEGRE.nii.gz",
        "sub-A_ses-01_echo-1_part-phase_MEGRE.nii.gz",
        "sub-A_ses-01_echo-2_part-mag_MEGRE.nii.gz",
        "sub-A_ses-01_echo-2_part-phase_MEGRE.nii.gz",
        "sub-B_ses-01_magnitude1.nii.gz",
        "sub-B_ses-01_magnitude2.nii.gz",
        "sub-B_ses-01_phasediff.nii.gz",
    ]
    folder = tmp_path / "out" / "sourcedata" / "raw" / "sub-A" / "ses-01" / "anat"
    image = nib.load(folder / "sub-A_ses-01_echo-2_part-mag_MEGRE.nii.gz")
    np.testing.assert_array_equal(on_written_grid(image, scan[0]), scan[0].volumes[1].stored)
    assert len(conversion.failures) == 1 and "slice is missing" in conversion.failures[0]
    assert not conversion.reasons
    rows = read_table(tmp_path / "out" / "sourcedata" / "conversion_files.tsv").rows
    assert len(rows) == len(paths) + 1 + len(cut)
    statuses = [row["status"] for row in rows]
    assert statuses.count("converted") == len(paths)
    assert {row["file"] for row in rows if row["reason"].startswith("cut short")} == {f"cut/{cut[2].name}"}
    became = review_rows(tmp_path / "out" / "sourcedata")["gre_field_mapping"]["became"]
    assert became == "sub-B_ses-01_phasediff.nii.gz"


def test_a_later_scan_adds_only_itself(tmp_path: Path) -> None:
    times = (0.004, 0.008)
    magnitude, phase = echoes((8, 6, 4), times)
    write_all(tmp_path / "in", gradient_echo("philips", magnitude, phase, times))
    convert(tmp_path / "in", tmp_path / "out")
    raw = tmp_path / "out" / "sourcedata" / "raw"
    before = {path: path.read_bytes() for path in raw.rglob("sub-*MEGRE.*")}
    write_all(tmp_path / "in" / "b", gradient_echo("philips", magnitude, phase, times, date="20230101"))
    write_all(
        tmp_path / "in" / "c",
        gradient_echo("philips", magnitude * 0.9, phase, times, number=7, time="110000"),
    )
    convert(tmp_path / "in", tmp_path / "out")
    assert {path: path.read_bytes() for path in before} == before
    new = {path.name.split("_echo")[0] for path in raw.rglob("sub-*MEGRE.nii.gz") if path not in before}
    assert new == {"sub-P001_ses-01_run-2", "sub-P001_ses-02"}


def test_no_name_or_birth_date_is_in_any_file_written(tmp_path: Path) -> None:
    times = (0.004, 0.008)
    magnitude, phase = echoes((8, 6, 4), times)
    who = {"patient_name": "Mustermann^Erika", "birth_date": "19640812"}
    write_all(tmp_path / "in", gradient_echo("ge", magnitude, phase, times, **who))
    convert(tmp_path / "in", tmp_path / "out")
    for path in (tmp_path / "out" / "sourcedata").rglob("*"):
        text = str(path.name) + (path.read_bytes().decode("latin-1") if path.is_file() else "")
        assert "Mustermann" not in text and "19640812" not in text, path


def test_real_scans_of_two_vendors_in_one_shuffled_folder(test_data: Path, tmp_path: Path) -> None:
    for part in ("philips-3t/classic_1301_T1w", "philips-3t/classic_2001_GRE", "siemens-xa30/In"):
        scatter(test_data / part, tmp_path / "in", 7)
    conversion = convert(tmp_path / "in", tmp_path / "out")
    assert not conversion.failures
    people = {name.split("_")[0] for name in names(tmp_path / "out")}
    assert people == {"sub-d2nPhilips3TR571", "sub-12343hucheng"}
    assert sorted(name.split("_ses-01_")[1].removesuffix(".nii.gz") for name in names(tmp_path / "out")) == [
        "T1w",
        "T1w",
        "echo-1_part-mag_MEGRE",
        "echo-1_part-phase_MEGRE",
        "echo-2_part-mag_MEGRE",
        "echo-2_part-phase_MEGRE",
        "magnitude1",
        "magnitude2",
        "phasediff",
        "rec-NORM_T1w",
    ]


def test_classic_and_enhanced_give_the_same_voxels(test_data: Path, tmp_path: Path) -> None:
    found = {}
    for form in ("classic", "enhanced"):
        scatter(test_data / "philips-3t" / f"{form}_2001_GRE", tmp_path / form, 3)
        conversion = convert(tmp_path / form, tmp_path / f"{form}-out")
        found[form] = {(image.echo, image.part): nib.load(image.path) for image in conversion.images}
    assert found["classic"].keys() == found["enhanced"].keys() and len(found["classic"]) == 4
    for key, image in found["classic"].items():
        other = found["enhanced"][key]
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(other.dataobj))
        np.testing.assert_allclose(image.affine, other.affine, atol=1e-3)


def test_a_phase_difference_alone_is_explained(test_data: Path, tmp_path: Path) -> None:
    conversion = convert(test_data / "siemens-xa30", tmp_path / "out")
    (reason,) = conversion.reasons
    assert "phase difference" in reason and "not the phase of each echo" in reason
    assert not {image.suffix for image in conversion.images} & {"MEGRE", "T2starw"}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_files_changes_no_name(tmp_path: Path, seed: int) -> None:
    times = (0.004, 0.008)
    magnitude, phase = echoes((8, 6, 4), times)
    write_all(tmp_path / "a", gradient_echo("uih", magnitude, phase, times))
    write_all(tmp_path / "b", gradient_echo("uih", magnitude + 9, phase, times, number=9, time="110000"))
    for part in ("a", "b"):
        scatter(tmp_path / part, tmp_path / "in", seed)
    convert(tmp_path / "in", tmp_path / "out")
    assert sum("_run-1_" in name for name in names(tmp_path / "out")) == 4
    assert sum("_run-2_" in name for name in names(tmp_path / "out")) == 4
