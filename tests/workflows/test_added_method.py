"""One file and one line of a registry put a method into help, output, sidecar, methods text and report."""

import inspect
import json
import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import mini_head, write_mini_dataset

from qsmxt_app.cli import build_parser, main
from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.method import Method, Registry
from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS
from qsmxt_app.report.methods import cited
from qsmxt_app.settings import setting_fields

PAGE = Path(__file__).parents[2] / "docs" / "contributing" / "add-an-inversion.md"
REGISTRIES = {
    "unwrapping": UNWRAPPING_METHODS, "background": BACKGROUND_METHODS, "inversion": INVERSION_METHODS
}  # fmt: skip
EVERY_METHOD = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Register the inversion that the page for contributors adds."""
    code = re.search(r"```python title=.*?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "tsvd.py").write_text(code.group(1), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(INVERSION_METHODS.modules, "tsvd", "tsvd")
    yield
    sys.modules.pop("tsvd", None)


def test_an_added_inversion_is_everywhere(added, tmp_path):
    assert "rts|tv|nonlinear|tsvd" in build_parser().format_help()
    raw, out = write_mini_dataset(tmp_path / "raw"), tmp_path / "out"
    arguments = [str(raw), str(out), "participant", "--qsm-method", "two-step", "--inversion", "tsvd"]
    # in this process: another one would not know of the addition
    arguments += ["--nipype-plugin", "Linear", "--no-two-pass", "--no-swi", "--no-chi-noise"]
    assert main([*arguments, "--segmentation", "none", "--skip-bids-validation"]) == 0

    folder = out / "sub-01" / "anat"
    head, chi = mini_head(0), nib.load(folder / "sub-01_Chimap.nii.gz").get_fdata()
    means = [chi[head.nuclei == label].mean() for label in (1, 2, 3)]
    assert np.all(np.diff(means) > 0)
    told = json.loads((folder / "sub-01_Chimap.json").read_text())
    assert told["Inversion"] == "tsvd"
    parameters = {"Threshold": {"Value": 0.2}, "Margin": {"Value": 16.0, "Units": "mm"}}
    assert told["InversionParameters"] == parameters
    assert told["BackgroundParameters"]["Peel"] == {"Value": 0, "Units": "voxels"}

    sentence = "inversion by truncated singular values (Wharton et al., 2010) (threshold 0.2, margin 16 mm)."
    assert sentence in (out / "logs" / "CITATION.md").read_text()
    assert "doi = {10.1002/mrm.22334}" in (out / "logs" / "CITATION.bib").read_text()
    report = (out / "sub-01.html").read_text()
    assert sentence in report
    assert "threshold-based k-space division" in report


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_choices_of_a_setting_are_its_registry(kind):
    setting = next(field for field in setting_fields() if field.name == kind)
    assert list(setting.metadata["choices"]) == list(REGISTRIES[kind])


@pytest.mark.parametrize(("kind", "name"), EVERY_METHOD)
def test_every_method_declares_all_that_its_function_takes(kind, name):
    method = REGISTRIES[kind][name]
    assert method.phrase
    assert cited([method.phrase])
    first, second, *keywords = inspect.signature(method.function).parameters.values()
    assert first.kind == second.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    numeric = {
        keyword.name
        for keyword in keywords
        if isinstance(keyword.default, int | float) and keyword.name not in method.needs
    }
    assert numeric == set(method.units)
    assert set(method.needs) <= {keyword.name for keyword in keywords}


def test_a_need_that_the_registry_does_not_offer_is_named(tmp_path, monkeypatch):
    code = "from qsmxt_app.qsm.method import Method\nMETHOD = Method(print, phrase='x', needs=('gravity',))\n"
    (tmp_path / "wishful.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="gravity"):
        Registry("wishful", offers={"voxel_size": "mm"})["wishful"]


def test_a_method_is_given_what_it_needs_and_no_more():
    needy = Method(lambda image, mask, **given: (image, mask, given), phrase="x", needs=("noise",))
    assert needy(1, 2, noise=3, weights=4) == (1, 2, {"noise": 3})
