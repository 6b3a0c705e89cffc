"""One file and one line of a registry put a map into help, outputs, record, methods text and report."""

import json

import nibabel as nib
import numpy as np
import pytest
from documented_change import copy_with, run_python
from mini_dataset import write_mini_dataset

from qsmxt_app.maps import MAPS, made_maps
from qsmxt_app.maps.declaration import IMAGES
from qsmxt_app.report.methods import cited


def test_an_added_map_is_everywhere(tmp_path):
    package = copy_with("add-a-map.md", tmp_path / "copy")
    assert "--curvature  " in run_python(package, "-m", "qsmxt_app", "--help")
    raw, out = write_mini_dataset(tmp_path / "raw"), tmp_path / "out"
    arguments = ["-m", "qsmxt_app", str(raw), str(out), "participant", "--curvature", "--no-two-pass"]
    arguments += ["--no-swi", "--no-chi-noise", "--segmentation", "none", "--skip-bids-validation"]
    run_python(package, *arguments)

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
    record = json.loads((out / "sub-01" / "figures" / "sub-01_desc-qsm_record.json").read_text())
    assert record["maps"]["curvature"] == {"curvature_spread": sidecar["CurvatureSpread"]}
    assert "curvature" in record["timings"]

    sentence = "its Laplacian by central differences (Koenderink, 1984)."
    assert sentence in (out / "logs" / "CITATION.md").read_text()
    assert "doi = {10.1007/BF00336961}" in (out / "logs" / "CITATION.bib").read_text()
    report = (out / "sub-01.html").read_text()
    assert sentence in report
    assert "<h3>Local curvature</h3>" in report
    assert "Curvature, axial slice" in report


@pytest.mark.parametrize("name", MAPS)
def test_every_map_declares_all_that_is_asked(name):
    step = MAPS[name]
    known = {*IMAGES, *(output for one in MAPS.values() for output in one.outputs)}
    assert set(step.needs) <= known
    assert cited([step.sentence])
    assert all(output.units and output.algorithm for output in step.outputs.values())
    assert {view.output for view in step.shown.views} <= step.outputs.keys()


def test_switches_and_echoes_decide_which_maps_are_made():
    on = {"swi": True, "chi_noise": True}
    assert made_maps(on, 3) == {"relaxation", "swi", "chi_noise"}
    assert made_maps(on, 1) == {"swi", "chi_noise"}
    assert made_maps({"swi": False}, 2) == {"relaxation"}
    assert MAPS["swi"].why_not({"swi": False}, 3) == "--no-swi"
    assert MAPS["relaxation"].why_not({}, 1) == "it needs at least two echoes"
