import re
from typing import Any

import pytest
from report_data import record

from qsmxt_app.records.scan import ScanRecord, parse_record
from qsmxt_app.report.methods import cited, describe_methods, render_citations
from qsmxt_app.report.references import all_references
from qsmxt_app.settings import setting_fields


def keys(**changes: Any) -> set[str]:
    content = record("sub-01", {"chi": "a", "chi_singlepass": "b", "r2star": "c"})
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values}
    return {reference.key for reference in describe_methods(parse_record(content)).references}


def test_the_default_chain_cites_what_it_uses_and_nothing_else() -> None:
    assert keys() == {
        "gorgolewski2017", "gorgolewski2011", "consensus2024", "eckstein2018", "liu2013", "schofield2003",
        "otsu1979", "dymerska2021", "hagberg2022", "langkammer2015", "bredies2010", "chambolle2011",
        "pock2011", "condat2013", "stewart2022", "gudbjartsson1995",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "added", "removed"),
    [
        ({"settings": {"mask": "bet"}}, {"smith2002"}, set()),
        ({"settings": {"mask": "magnitude", "mask_threshold": "fixed"}}, set(), {"otsu1979", "hagberg2022"}),
        ({"settings": {"qsm_method": "two-step", "inversion": "rts", "background": "vsharp"}},
         {"kames2018", "li2011", "wu2012"}, {"langkammer2015", "bredies2010"}),
        ({"settings": {"qsm_method": "two-step", "inversion": "nonlinear", "background": "pdf"}},
         {"milovic2018", "liu2011pdf"}, {"pock2011"}),
        # what two-step would do does not matter to TGV-QSM
        ({"settings": {"qsm_method": "tgv", "inversion": "rts", "background": "vsharp"}}, set(), set()),
        ({"outputs": {"swi": "d", "chi_noise": "e"}}, {"haacke2004", "eckstein2021", "kressler2010"}, set()),
        ({"outputs": {"chi_noise": "e"}, "settings": {"qsm_method": "tgv", "echo_combination": "field"}},
         {"efron1986"}, set()),
        ({"inputs": {"bipolar": True}}, {"li2015"}, set()),
        ({"inputs": {"echo_times": [0.02]}}, set(), {"eckstein2018", "liu2013"}),
        ({"segmentation": {"status": "done", "method": "atlas", "atlas": "qsmxt", "t1w": "T1w.nii.gz",
                           "alignment": {"used": "registration"}}},
         {"fonov2011", "fischl2002", "desikan2006", "keuken2014", "avants2008", "mattes2003"},
         set()),
        ({"segmentation": {"status": "done", "method": "meshnet", "atlas": "m", "t1w": "T1w.nii.gz",
                           "alignment": {"used": "header"}}}, {"fedorov2017", "masoud2023"}, set()),
        ({"segmentation": {"status": "done", "method": "meshnet", "atlas": "own.onnx", "t1w": "T1w.nii.gz",
                           "alignment": {"used": "header"}}}, set(), set()),
        ({"segmentation": {"status": "done", "method": "derivatives", "atlas": "synthseg", "t1w": None}},
         {"billot2023"}, set()),
        ({"segmentation": {"status": "failed", "method": "atlas"}}, set(), set()),
        ({"segmentation": {"status": "none"}}, set(), set()),
    ],
)  # fmt: skip
def test_citations_follow_what_was_run(changes: dict[str, Any], added: set[str], removed: set[str]) -> None:
    assert keys(**changes) - keys() == added
    assert removed <= keys() - keys(**changes)


def test_a_single_pass_and_a_missing_r2star_are_not_described() -> None:
    content = record("sub-01", {"chi": "a"})
    text = describe_methods(parse_record(content)).paragraph
    assert "Stewart" not in text
    assert "R2*" not in text


def test_numbers_of_the_acquisition_and_the_settings_are_in_the_text() -> None:
    text = describe_methods(parse_record(record("sub-01", {}))).paragraph
    for words in (
        "qsmxt 0.1.0",
        "at 3 T",
        "TE 4, 12, 20 ms",
        "monopolar",
        "α₁ = 0.0015, α₀ = 0.0005 for 0.6 ppb of noise and voxels of 2 mm, scaled",
        "0.001",
    ):
        assert words in text
    assert "5 × 5 × 5 mm³" in text  # noqa: RUF001


SIDECAR = {
    "Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "ReceiveCoilName": "Head_32",
    "MRAcquisitionType": "3D", "RepetitionTime": 0.035, "FlipAngle": 15, "PixelBandwidth": 240,
    "ParallelReductionFactorInPlane": 2, "PartialFourier": 0.75, "AcquisitionDuration": 320,
    "CoilCombinationMethod": "Adaptive Combine",
}  # fmt: skip


def acquired(**sidecar: Any) -> str:
    content = record("sub-01", {})
    content["inputs"] |= {"sidecar": sidecar, "readout_told": True}
    methods = describe_methods(parse_record(content))
    assert "added by the author" not in methods.paragraph
    return " ".join((methods.paragraph, *methods.notes))


def test_every_item_of_the_consensus_is_told_or_asked_for() -> None:
    told = acquired(**SIDECAR)
    for words in (
        "Siemens Prisma", "Head 32", "3D gradient-echo", "TR 35 ms", "flip angle 15°", "bandwidth 240 Hz",
        "acceleration 2", "partial Fourier 0.75", "acquired in 5 min 20 s",
        "combined the coils by Adaptive Combine",
        "Stored as 0..4095, mapped to one cycle", "180 × 220 × 160 mm³", "along the scanner's axes",  # noqa: RUF001
        "shown in gray from -0.1 to 0.1 ppm", "relative to its mean over the mask",
    ):  # fmt: skip
        assert words in told, words
    assert "as it is not recorded with the images: flow compensation." in told
    for key in SIDECAR.keys() - {"Manufacturer", "ManufacturersModelName"}:
        assert acquired(**{name: value for name, value in SIDECAR.items() if name != key}) != told
    asked = acquired()
    assert (
        "not recorded with the images: scanner, receive coil, type of sequence, repetition time, flip angle, "
        "bandwidth, acceleration and partial Fourier, acquisition time, combination of the coils, and flow "
        "compensation."
    ) in asked


def test_what_the_sidecar_says_cannot_make_a_citation() -> None:
    assert "[@" not in acquired(Manufacturer="[@nobody1900]")


def test_parameters_of_the_steps_are_those_that_run() -> None:
    content = record("sub-01", {"chi": "a"})
    content["settings"] |= {"qsm_method": "two-step", "background": "vsharp", "inversion": "tv"}
    text = describe_methods(parse_record(content)).paragraph
    assert "max radius 12 mm, threshold 0.05" in text
    assert "gradient scale 0.01 ppm/mm" in text
    assert "noise 0.001" not in text, "the inversion is told the scan's own"
    assert "in proportion to the standard deviation of the field's noise" in text


def test_text_of_a_record_cannot_make_a_citation() -> None:
    content = record("sub-01", {})
    content["software"] = {"qsmxt": "1 [@nobody1900]"}
    assert "nobody1900" in describe_methods(parse_record(content)).paragraph


def test_citations_are_names_and_years_in_order_of_appearance() -> None:
    sentence = "A [@otsu1979;@smith2002], and B [@otsu1979]."
    assert render_citations(sentence) == "A (Otsu, 1979; Smith, 2002), and B (Otsu, 1979)."
    assert [reference.key for reference in cited([sentence])] == ["otsu1979", "smith2002"]


@pytest.mark.parametrize("key", all_references())
def test_every_reference_is_complete(key: str) -> None:
    reference = all_references()[key]
    assert re.fullmatch(r"10\.\d{4,}/\S+", reference.doi)
    assert str(reference.year) in reference.short
    assert reference.authors[0].split(",")[0].split()[-1] in reference.short
    entry = reference.bibtex()
    assert entry.count("{") == entry.count("}")
    assert re.match(rf"@(article|inproceedings){{{key},\n", entry)
    assert f"doi = {{{reference.doi}}}" in entry


@pytest.mark.parametrize("name", ["unwrapping", "background", "inversion"])
def test_every_method_that_can_be_chosen_is_described(name: str) -> None:
    choices = next(field for field in setting_fields() if field.name == name).metadata["choices"]
    for choice in choices:
        chosen = {"unwrapping": "romeo", "background": "lbv", "inversion": "tv", name: choice}
        record = ScanRecord(stem="", settings={"qsm_method": "two-step", **chosen})
        assert "not known" not in describe_methods(record).paragraph
