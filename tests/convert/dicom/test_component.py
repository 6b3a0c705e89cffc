"""What vendors write for magnitude, phase and the rest."""

from __future__ import annotations

import pytest

from qsmxt_app.convert.dicom.component import component_of

ORIGINAL = ("ORIGINAL", "PRIMARY")


@pytest.mark.parametrize(
    ("words", "component"),
    [
        (("M", "ND", "NORM"), "magnitude"),
        (("P", "ND", "PHASE"), "phase"),
        (("M_FFE", "M", "FFE"), "magnitude"),
        (("PHASE MAP", "P", "FFE"), "phase"),
        (("R_FFE", "R", "FFE"), "real"),
        (("I_FFE", "I", "FFE"), "imaginary"),
        (("B0 MAP", "B0", "UNSPECIFIED"), "b0map"),
        (("PHASE DIFFERENCE", "P"), "phasediff"),
        (("VELOCITY MAP", "P", "PCA"), "unknown"),
        (("M_PCA", "M", "PCA"), "magnitude"),
        (("OTHER",), "unknown"),
        (("OTHER", "REAL"), "real"),
        ((), "unknown"),
    ],
)
def test_image_types(words: tuple[str, ...], component: str) -> None:
    assert component_of((*ORIGINAL, *words)) == component


def test_units_and_vendor_words_count_more_than_the_standard_ones() -> None:
    assert component_of((*ORIGINAL, "T1", "MIXED"), "MIXED", private="phase") == "phase"
    assert component_of((*ORIGINAL, "M"), "MAGNITUDE", private="real") == "real"
    assert component_of((*ORIGINAL, "M"), "MAGNITUDE", rescale_type="Hz") == "b0map"
    assert component_of((*ORIGINAL, "PHASE DIFFERENCE"), private="phase") == "phasediff"
    assert component_of((*ORIGINAL, "OTHER"), "IMAGINARY") == "imaginary"
    assert component_of((*ORIGINAL, "T1"), rescale_type="mrad") == "phase"
