import re
from typing import Any

import pytest
from report_data import record

from qsmxt_app.report.methods import cited, describe_methods, methods_of, render_citations
from qsmxt_app.report.record import parse_record
from qsmxt_app.report.references import REFERENCES
from qsmxt_app.settings import setting_fields


def keys(**changes: Any) -> set[str]:
    content = record("sub-01", {"chi": "a", "chi_singlepass": "b", "r2star": "c"})
    for section, values in changes.items():
        content[section] = {**content[section], **values}
    return {reference.key for reference in methods_of(parse_record(content, "sub-01")).references}


def test_the_default_chain_cites_what_it_uses_and_nothing_else() -> None:
    assert keys() == {
        "gorgolewski2016", "gorgolewski2011", "consensus2024", "eckstein2018", "liu2013", "schofield2003",
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
        ({"inputs": {"bipolar": True}}, {"li2015"}, set()),
        ({"inputs": {"echo_times": [0.02]}}, set(), {"eckstein2018", "liu2013"}),
    ],
)  # fmt: skip
def test_citations_follow_what_was_run(changes: dict[str, Any], added: set[str], removed: set[str]) -> None:
    assert keys(**changes) - keys() == added
    assert removed <= keys() - keys(**changes)


def test_a_single_pass_and_a_missing_r2star_are_not_described() -> None:
    content = record("sub-01", {"chi": "a"})
    text = methods_of(parse_record(content, "sub-01")).paragraph
    assert "Stewart" not in text
    assert "R2*" not in text


def test_numbers_of_the_acquisition_and_the_settings_are_in_the_text() -> None:
    text = methods_of(parse_record(record("sub-01", {}), "sub-01")).paragraph
    for words in (
        "qsmxt 0.1.0",
        "at 3 T",
        "TE 4, 12, 20 ms",
        "monopolar",
        "0.0015",
        "0.001",
    ):
        assert words in text
    assert "5 × 5 × 5 mm³" in text  # noqa: RUF001


def test_before_a_run_the_settings_alone_are_described() -> None:
    methods = describe_methods({"mask": "phase-quality", "mask_threshold": "otsu", "two_pass": True})
    assert "(Stewart et al., 2022)" in methods.paragraph
    assert "[@" not in methods.paragraph


def test_text_of_a_record_cannot_make_a_citation() -> None:
    content = record("sub-01", {})
    content["software"] = {"qsmxt": "1 [@nobody1900]"}
    assert "nobody1900" in methods_of(parse_record(content, "sub-01")).paragraph


def test_citations_are_names_and_years_in_order_of_appearance() -> None:
    sentence = "A [@otsu1979;@smith2002], and B [@otsu1979]."
    assert render_citations(sentence) == "A (Otsu, 1979; Smith, 2002), and B (Otsu, 1979)."
    assert [reference.key for reference in cited([sentence])] == ["otsu1979", "smith2002"]


@pytest.mark.parametrize("key", REFERENCES)
def test_every_reference_is_complete(key: str) -> None:
    reference = REFERENCES[key]
    assert re.fullmatch(r"10\.\d{4,}/\S+", reference.doi)
    assert str(reference.year) in reference.short
    assert reference.authors[0].split(",")[0].split()[-1] in reference.short
    entry = reference.bibtex()
    assert entry.count("{") == entry.count("}")
    assert re.match(rf"@(article|inproceedings){{{key},\n", entry)
    assert f"doi = {{{reference.doi}}}" in entry


@pytest.mark.parametrize("name", ["background", "inversion"])
def test_every_method_that_can_be_chosen_is_described(name: str) -> None:
    choices = next(field for field in setting_fields() if field.name == name).metadata["choices"]
    for choice in choices:
        settings = {"qsm_method": "two-step", "background": "lbv", "inversion": "tv", name: choice}
        assert "not known" not in describe_methods(settings).paragraph
