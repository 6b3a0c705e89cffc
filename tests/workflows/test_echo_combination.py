"""A map of each echo and their mean, through the whole command."""

import json

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import mini_head, write_mini_dataset

from qsmxt_app.bids.validation import find_issues
from qsmxt_app.cli import main
from qsmxt_app.records.scan import read_records


def run(folder, *arguments):
    arguments = [str(folder / "raw"), str(folder / "out"), "participant", "--no-swi", *arguments]
    return main([*arguments, "--segmentation", "none", "--skip-bids-validation", "-w", str(folder / "work")])


def image(folder, kind):
    return nib.load(folder / "out" / "sub-01" / "anat" / f"sub-01_{kind}.nii.gz").get_fdata()


def sidecar(folder, kind):
    return json.loads((folder / "out" / "sub-01" / "anat" / f"sub-01_{kind}.json").read_text())


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    write_mini_dataset(folder / "raw")
    options = ("--echo-combination", "maps", "--echo-average", "plain", "--echoes", "2-3")
    assert run(folder, *options) == 0
    return folder


def test_each_chosen_echo_has_a_map_whose_mean_is_the_map(apart):
    chi, mask = image(apart, "Chimap"), image(apart, "desc-qsm_mask") > 0
    echoes = np.stack([image(apart, f"desc-echo{number}_Chimap") for number in (2, 3)])
    assert not (apart / "out" / "sub-01" / "anat" / "sub-01_desc-echo1_Chimap.nii.gz").exists()
    known = np.abs(echoes - chi)[:, mask].max() > 1e-4  # they differ
    assert known
    middle = np.isclose(chi, echoes.mean(axis=0), atol=1e-5)
    assert middle[mask].mean() > 0.95  # an echo whose field is not known at a voxel does not count there
    spread = image(apart, "desc-echospread_Chimap")
    np.testing.assert_allclose(spread[mask & middle], echoes.std(axis=0)[mask & middle], atol=1e-4)


def test_each_echo_shows_the_nuclei(apart):
    head, mask = mini_head(0), image(apart, "desc-qsm_mask") > 0
    for kind in ("Chimap", "desc-echo2_Chimap", "desc-echo3_Chimap"):
        chi, tissue = image(apart, kind), mask & (head.nuclei == 0)
        found = [chi[head.nuclei == label].mean() - chi[tissue].mean() for label in (1, 2, 3)]
        assert np.polyfit([0.05, 0.10, 0.15], found, 1)[0] == pytest.approx(1, abs=0.3)


def test_sidecars_methods_and_page_say_so(apart):
    told = sidecar(apart, "desc-echo3_Chimap")
    assert (told["EchoNumber"], told["EchoTime"]) == (3, 0.02)
    assert (told["EchoCombination"], told["EchoAverage"]) == ("maps", "plain")
    assert "EchoTime" not in sidecar(apart, "Chimap")
    assert sidecar(apart, "desc-echospread_Chimap")["EstimationAlgorithm"].startswith("standard deviation")
    (record,) = read_records(apart / "out", "01")
    assert [key for key in record.outputs if key.startswith("chi_echo")] == [
        "chi_echoes_2", "chi_echoes_3", "chi_echo_spread",
    ]  # fmt: skip
    page = (apart / "out" / "sub-01.html").read_text()
    for text in ("of each echo by itself", "averaged with equal weights", "Spread over echoes", "Echo 3"):
        assert text in page


def test_the_output_is_valid_bids(apart):
    assert find_issues(apart / "out", config=None) == []


def test_maps_of_echoes_of_an_earlier_run_are_named(apart, capsys):
    assert run(apart, "--echo-combination", "laplacian") == 0
    (record,) = read_records(apart / "out", "01")
    assert "sub-01/anat/sub-01_desc-echo2_Chimap.nii.gz" in record.stale
    assert "sub-01/anat/sub-01_desc-echospread_Chimap.nii.gz" in record.stale
    assert "Laplacians of the wrapped phase" in (apart / "out" / "sub-01.html").read_text()


def test_other_methods_than_tgv_combine_the_field_alone(apart, capsys):
    assert run(apart, "--preset", "consensus", "--echo-combination", "maps") == 64
    assert "--qsm-method tgv" in capsys.readouterr().err
