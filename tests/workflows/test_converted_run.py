"""From a folder of NIfTI files, whatever their names, to the maps of the dataset they came from."""

import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from mini_dataset import write_mini_dataset

from qsmxt_app.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "convert"))

from dicom_writer import echoes, gradient_echo, write_all


def scattered(raw, folder):
    """Copy the images of a dataset under other names; what is needed stays in the JSON files."""
    for person in raw.glob("sub-*"):
        target = folder / person.name.replace("sub-", "Subject_")
        target.mkdir(parents=True)
        for image in (person / "anat").glob("*.nii.gz"):
            sidecar = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
            part = "ph" if "part-phase" in image.name else "mag"
            name = f"GRE_{sidecar['EchoNumber']:02d}_{part}"
            shutil.copyfile(image, target / f"{name}.nii.gz")
            (target / f"{name}.json").write_text(json.dumps(sidecar))
    return folder


def test_nifti_files_give_the_maps_of_the_dataset_that_they_came_from(tmp_path, capsys):
    raw = write_mini_dataset(tmp_path / "raw", ("01", "02"), echoes=2)
    given = scattered(raw, tmp_path / "from a colleague")
    options = ("participant", "--no-two-pass", "--tgv-iterations", "20", "--participant-label", "02")
    options += ("--no-swi", "--no-chi-noise", "--report-volumes", "none")
    assert main([str(raw), str(tmp_path / "expected"), *options]) == 0
    assert main([str(given), str(tmp_path / "out"), *options]) == 0
    maps = [
        nib.load(tmp_path / out / "sub-02" / "anat" / "sub-02_Chimap.nii.gz") for out in ("expected", "out")
    ]
    np.testing.assert_array_equal(*(image.get_fdata() for image in maps))
    converted = tmp_path / "out" / "sourcedata" / "raw"
    assert [path.name for path in converted.glob("sub-*")] == ["sub-02"], "only the one asked for"
    assert not (tmp_path / "out" / "sub-01").exists()
    description = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert description["DatasetLinks"]["raw"] == "sourcedata/raw"


def test_a_dry_run_prints_the_table_and_writes_nothing(tmp_path, capsys):
    given = scattered(write_mini_dataset(tmp_path / "raw"), tmp_path / "given")
    assert main([str(given), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["file", "subject", "suffix", "part"]
    assert any(line.startswith("Subject_01/GRE_01_mag.nii.gz") and " MEGRE " in line for line in lines)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_dicom_says_what_each_series_would_become(tmp_path, capsys):
    magnitude, phase = echoes()
    write_all(tmp_path / "given", gradient_echo("siemens", magnitude, phase, (0.004, 0.008)))
    arguments = [str(tmp_path / "given"), str(tmp_path / "out"), "participant"]
    assert main([*arguments, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "sub-P001_ses-01_echo-1_part-phase_MEGRE.nii.gz and 1 more" in told
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--dry-run", "--participant-label", "P9"]) == 18
