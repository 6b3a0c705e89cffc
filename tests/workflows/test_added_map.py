"""One file and one line of a registry put a map into help, outputs, record, methods text and report."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from documented_change import copy_with, run_python
from test_segmentation import FREESURFER, study

from qsmxt_app.maps import MAPS, made_maps
from qsmxt_app.maps.declaration import IMAGES, worded
from qsmxt_app.report.methods import cited

__all__ = ["study"]


def test_an_added_map_is_everywhere(study, tmp_path):
    package = copy_with("add-a-map.md", tmp_path / "copy")
    assert "--curvature  " in run_python(package, "-m", "qsmxt_app", "--help")
    out = tmp_path / "out"
    command = ["-m", "qsmxt_app", str(study.raw), str(out)]
    arguments = ["--curvature", "--no-two-pass", "--no-swi", "--no-chi-noise", "--skip-bids-validation"]
    run_python(package, *command, "participant", *arguments, "--derivatives", str(study.freesurfer))
    run_python(package, *command, "group")
    check_files(out)
    check_participant(out)
    check_regions_and_group(out)


def check_files(out):
    folder = out / "sub-01" / "anat"
    chi = nib.load(folder / "sub-01_Chimap.nii.gz").get_fdata()
    curvature = nib.load(folder / "sub-01_desc-curvature_Chimap.nii.gz").get_fdata()
    expected = sum(np.gradient(np.gradient(chi, 4.0, axis=axis), 4.0, axis=axis) for axis in range(3))
    inside = chi != 0
    assert np.allclose(curvature[inside], expected[inside], atol=1e-5)
    sidecar = json.loads((folder / "sub-01_desc-curvature_Chimap.json").read_text())
    assert (sidecar["Units"], sidecar["EstimationAlgorithm"]) == (
        "ppm/mm^2",
        "Laplacian by central differences",
    )
    assert sidecar["CurvatureSpread"] == pytest.approx(curvature[inside].std(), rel=0.05)


def check_participant(out):
    record = json.loads((out / "sub-01" / "figures" / "sub-01_desc-qsm_record.json").read_text())
    sidecar = json.loads((out / "sub-01" / "anat" / "sub-01_desc-curvature_Chimap.json").read_text())
    assert record["maps"]["curvature"] == {"curvature_spread": sidecar["CurvatureSpread"]}
    assert "curvature" in record["timings"]

    sentence = "its Laplacian by central differences (Koenderink, 1984)."
    assert sentence in (out / "logs" / "CITATION.md").read_text()
    assert "doi = {10.1007/BF00336961}" in (out / "logs" / "CITATION.bib").read_text()
    report = (out / "sub-01.html").read_text()
    assert sentence in report
    assert "<h3>Local curvature</h3>" in report
    assert "Curvature, axial slice" in report


def check_regions_and_group(out):
    folder = out / "sub-01" / "anat"
    curvature = nib.load(folder / "sub-01_desc-curvature_Chimap.nii.gz").get_fdata()
    labels = nib.load(folder / "sub-01_seg-aseg_dseg.nii.gz").get_fdata()
    mask = nib.load(folder / "sub-01_desc-qsm_mask.nii.gz").get_fdata() > 0
    stats = pd.read_csv(folder / "sub-01_desc-qsm_stats.tsv", sep="\t").query("map == 'curvature'")
    assert set(stats["units"]) == {"ppm/mm^2"}
    means = stats.set_index("index")["mean"]
    for number in FREESURFER.values():
        assert means[number] == pytest.approx(curvature[(labels == number) & mask].mean(), rel=1e-4)
    columns = json.loads((folder / "sub-01_desc-qsm_stats.json").read_text())
    assert columns["map"]["Levels"]["curvature"] == "Curvature of χ"

    group = pd.read_csv(out / "group_stats.csv").query("map == 'curvature'")
    assert group.set_index("index")["mean"].to_dict() == means.to_dict()
    assert "curvature_caudate_L" in pd.read_csv(out / "group_stats_wide.csv").columns
    template = out / "tpl-study" / "anat"
    average = nib.load(template / "tpl-study_desc-curvature_Chimap.nii.gz").get_fdata()
    warped = nib.load(folder / "sub-01_space-study_desc-curvature_Chimap.nii.gz").get_fdata()
    assert average.any()
    np.testing.assert_allclose(average, warped, atol=1e-6)
    assert (template / "tpl-study_desc-curvatureStd_Chimap.nii.gz").is_file()
    page = (out / "group.html").read_text()
    assert "Curvature of χ" in page
    assert "Average Curvature of χ, axial slice" in page


@pytest.mark.parametrize("method", ["tgv", "two-step"])
@pytest.mark.parametrize("name", MAPS)
def test_every_map_declares_all_that_is_asked(name, method):
    step, settings = MAPS[name], {"qsm_method": method, "echo_combination": "field"}
    known = {*IMAGES, *(output for one in MAPS.values() for output in one.outputs)}
    assert {*step.needs, *step.takes} <= known
    assert cited([worded(step.sentence, settings)])
    assert all(output.units and worded(output.algorithm, settings) for output in step.outputs.values())
    assert {view.output for view in step.shown.views} <= step.outputs.keys()


def test_switches_and_echoes_decide_which_maps_are_made():
    on = {"swi": True, "chi_noise": True, "chi_error": True, "qsm_method": "tgv", "echo_combination": "field"}
    assert made_maps(on, 3) == {"relaxation", "swi", "chi_noise", "chi_error"}
    assert made_maps(on | {"chi_noise": False}, 3) == {"relaxation", "swi"}
    on["qsm_method"] = "two-step"
    assert made_maps(on, 3) == {"relaxation", "swi", "chi_noise"}
    assert MAPS["chi_error"].why_not(on, 3) == "--qsm-method two-step"
    assert made_maps(on, 1) == {"swi", "chi_noise"}
    assert made_maps({"swi": False}, 2) == {"relaxation"}
    assert made_maps({"separation": "closed_form"}, 3) == {"relaxation", "separation"}
    assert made_maps({"separation": "none"}, 3) == {"relaxation"}
    assert MAPS["swi"].why_not({"swi": False}, 3) == "--no-swi"
    assert MAPS["separation"].why_not({"separation": "none"}, 3) == "--separation none"
    assert MAPS["separation"].why_not({"separation": "auto"}, 1) == "it needs at least two echoes"
    assert MAPS["relaxation"].why_not({}, 1) == "it needs at least two echoes"
