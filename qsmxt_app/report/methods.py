"""The methods paragraph that a paper needs, written from what was really run.

Text carries its citations as `[@key]`; they are turned into names and years when it is written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qsmxt_app.bibliography import Reference
from qsmxt_app.maps import MAPS
from qsmxt_app.qsm.background import BACKGROUND_METHODS
from qsmxt_app.qsm.brain_mask import MARGIN_MM
from qsmxt_app.qsm.inversion import INVERSION_METHODS
from qsmxt_app.qsm.method import Method
from qsmxt_app.qsm.tgv import TGVOptions
from qsmxt_app.qsm.two_pass import APART_PPM
from qsmxt_app.qsm.unwrapping import UNWRAPPING_METHODS
from qsmxt_app.records.open_values import number, numbers, text
from qsmxt_app.records.scan import STRIPPED, ScanRecord
from qsmxt_app.report.acquisition_text import acquisition_sentences, to_add
from qsmxt_app.report.labelling_text import segmentation_sentences
from qsmxt_app.report.pictures import CHI
from qsmxt_app.report.references import all_references

_CITATION = re.compile(r"\[@([a-z0-9;@]+)\]")

_MASK_SOURCES = {
    "magnitude": "the magnitude",
    "phase-quality": "the quality of the phase [@dymerska2021;@hagberg2022]",
    "combined": "magnitude and phase quality [@dymerska2021;@hagberg2022] combined",
}
_THRESHOLDS = {
    "otsu": "Otsu's threshold [@otsu1979]",
    "gaussian": "a threshold between Gaussians fitted to the histogram",
    "fixed": "a fixed threshold",
    "percentile": "a percentile threshold",
}

_LAPLACIANS = {
    "field": "the Laplacian of the wrapped phase [@schofield2003] of all echoes weighted by their noise",
    "laplacian": (
        "the Laplacians of the wrapped phase [@schofield2003] of the single echoes, divided by their echo "
        "times and averaged by their noise"
    ),
    "maps": "the Laplacian of the wrapped phase [@schofield2003] of each echo by itself",
}
_RECEIVE_PHASE = (
    "The curvature of the receive phase, which a single echo does not separate from the field, was taken to "
    "be a polynomial of third order, fitted to the Laplacian of the phase and removed."
    " Such a map is qualitative."
)
_RETURNED_RESIDUAL = (
    "In noise (2 to 24 ppb times the voxel's edge in mm), the smoothed residual field was added back to the "
    "data once, to restore contrast."
)
_ECHO_MEANS = {
    "noise": (
        "The maps of the single echoes were averaged, weighted in each voxel by the inverse variance of the "
        "echo's field."
    ),
    "plain": "The maps of the single echoes were averaged with equal weights.",
}


@dataclass(frozen=True)
class Methods:
    """Sentences with citations, and what an author has to add to them."""

    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def paragraph(self) -> str:
        """The sentences with `(Name, year)` citations."""
        return render_citations(" ".join(self.sentences))

    @property
    def references(self) -> tuple[Reference, ...]:
        """The references cited, each once, in order of appearance."""
        return cited(self.sentences)


def describe_methods(record: ScanRecord) -> Methods:
    """Write the methods of one acquisition: what was done with it or, before a run, will be."""
    settings = record.settings
    sentences = [
        _software(record),
        *acquisition_sentences(record),
        *_reconstruction(settings, record),
        _reference(record),
        *(
            step.methods_text(settings, record.maps.get(step.name, {}))
            for step in MAPS.values()
            if step.outputs.keys() & record.outputs.keys()
        ),
        *segmentation_sentences(record),
        _shown(),
    ]
    return Methods(tuple(sentence for sentence in sentences if sentence), to_add(record))


def render_citations(sentence: str) -> str:
    """Turn `[@key;@key]` into `(Name, year; Name, year)`."""
    known = all_references()

    def names(match: re.Match[str]) -> str:
        keys = match.group(1).replace("@", "").split(";")
        return f"({'; '.join(known[key].short for key in keys)})"

    return _CITATION.sub(names, sentence)


def cited(sentences: Iterable[str]) -> tuple[Reference, ...]:
    """Return the references that sentences cite, each once, in order of appearance."""
    keys = (
        key for match in _CITATION.findall(" ".join(sentences)) for key in match.replace("@", "").split(";")
    )
    known = all_references()
    return tuple(known[key] for key in dict.fromkeys(keys))


def _software(record: ScanRecord) -> str:
    version = record.software.get("qsmxt")
    name = f"qsmxt {_plain(version)}" if version else "qsmxt"
    python = record.software.get("python")
    nipype = record.software.get("nipype")
    made = "evaluated" if record.origin.file else "computed"
    return (
        f"Susceptibility maps were {made} with {name}, a BIDS-App [@gorgolewski2017] built on nipype"
        f"{f' {_plain(nipype)}' if nipype else ''} [@gorgolewski2011]"
        f"{f' and Python {_plain(python)}' if python else ''}, and are described as recommended by the "
        "consensus on quantitative susceptibility mapping [@consensus2024]."
    )


def _shown() -> str:
    return f"Maps are shown in gray from {CHI.low:g} to {CHI.high:g} {CHI.unit}."


def _reconstruction(settings: Mapping[str, Any], record: ScanRecord) -> list[str]:
    """Describe how susceptibility was computed, or whose map was taken."""
    origin = record.origin
    if not origin.file:
        return [
            _phase(settings, record),
            _masking(settings, record),
            *_susceptibility(settings, record),
            _two_pass(record),
        ]
    known = f", known by {origin.units_known_by}, and were converted" if origin.units else ""
    units = f" Its values were in {origin.units}{known}." if origin.units not in ("", "ppm") else ""
    return [
        f"The map of susceptibility was not reconstructed here: an existing one, made by "
        f"{_plain(origin.program)}, was taken, and evaluated where it has values.{units}"
    ]


def _phase(settings: Mapping[str, Any], record: ScanRecord) -> str:
    if len(record.inputs.echo_times) == 1:
        return f"The field followed from the phase of the single echo, unwrapped by {_unwrapping(settings)}."
    bipolar = record.inputs.bipolar and len(record.inputs.echo_times) > 2
    readout = " and so was the difference between odd and even echoes [@li2015]" if bipolar else ""
    return (
        f"Phase offsets were estimated and removed as in MCPC-3D-S [@eckstein2018]{readout}. The total field "
        "was fitted to the complex signal of all echoes [@liu2013] and unwrapped by "
        f"{_unwrapping(settings)}."
    )


def _unwrapping(settings: Mapping[str, Any]) -> str:
    name = text(settings.get("unwrapping"))
    return _phrase(UNWRAPPING_METHODS.get(name))


def _masking(settings: Mapping[str, Any], record: ScanRecord) -> str:
    source = text(settings.get("mask")) or "phase-quality"
    within = ""
    if record.mask.method == STRIPPED:
        source, within = "combined", " inside the region to which the magnitude had been stripped"
    elif source == "bet":
        source, within = "combined", " inside the brain, found with BET [@smith2002]"
    elif source not in _MASK_SOURCES:
        source, within = "combined", " inside a mask that was supplied"
    threshold = _THRESHOLDS.get(text(settings.get("mask_threshold")), "a threshold")
    erosion = number(settings.get("mask_erosion"))
    eroded = f", and eroded by {erosion:.0f} voxel{'s' if erosion > 1 else ''}" if erosion else ""
    closing, fixed = number(settings.get("mask_closing")), number(settings.get("mask_threshold_value"))
    value = f" ({fixed:g})" if fixed is not None else ""
    closed = f" up to {2 * closing:g} mm" if closing else ""
    return (
        f"The mask was made by {threshold}{value} on {_MASK_SOURCES[source]}{within}, "
        f"with gaps{closed} closed and holes filled{eroded}.{_brain(record)}"
    )


def _brain(record: ScanRecord) -> str:
    """Say where the mask ends in a head."""
    if not record.mask.brain_ml:
        return ""
    given = text(record.settings.get("mask")) not in _MASK_SOURCES or record.mask.method == STRIPPED
    found = "The brain was found in the magnitude by morphology"
    return f" {found}." if given else f" {found}; the mask ends {MARGIN_MM:g} mm beyond it."


def _susceptibility(settings: Mapping[str, Any], record: ScanRecord) -> list[str]:
    if text(settings.get("qsm_method")) == "two-step":
        return _two_step(settings)
    weights = numbers(settings.get("tgv_alpha"))
    alpha = _scaled_weights(*weights) if len(weights) == 2 else ""
    several = len(record.inputs.echo_times) != 1
    combination = text(settings.get("echo_combination")) if several else ""
    sentence = (
        "Unwrapping, background field removal and inversion were solved in one step with TGV-QSM "
        f"[@langkammer2015], from {_LAPLACIANS.get(combination, _LAPLACIANS['field'])}, with total "
        f"generalised variation [@bredies2010] as regularisation{alpha}, by a primal-dual algorithm "
        "[@chambolle2011] with diagonal preconditioning [@pock2011] and over-relaxation "
        "[@condat2013]"
    )
    mean = _ECHO_MEANS.get(text(settings.get("echo_average")), "") if combination == "maps" else ""
    single = _RECEIVE_PHASE if len(record.inputs.echo_times) == 1 else ""
    return [single, f"{sentence}{_stopping(settings)}.", _RETURNED_RESIDUAL, mean]


def _two_step(settings: Mapping[str, Any]) -> list[str]:
    removal = BACKGROUND_METHODS.get(text(settings.get("background")))
    inversion = INVERSION_METHODS.get(text(settings.get("inversion")))
    border = ", inside a border of reliable voxels" if _needs(removal, "weights") else ""
    sentence = (
        f"Susceptibility was computed from the local field by {_phrase(inversion)}{_parameters(inversion)}"
    )
    if _needs(inversion, "noise"):
        sentence += ", regularised in proportion to the standard deviation of the field's noise"
    if _needs(inversion, "weights"):
        sentence += (
            "; voxels were weighted by the inverse variance of their field, those at the border not at all"
        )
    removed = f"Background fields were removed by {_phrase(removal)}{_parameters(removal)}{border}"
    return [f"{removed}.", f"{sentence}."]


def _scaled_weights(first_order: float, second_order: float) -> str:
    noise, edge = 1e3 * TGVOptions.calibration_noise, TGVOptions.calibration_edge
    at = f"{noise:g} ppb of noise and voxels of {edge:g} mm"
    return f" (α₁ = {first_order:g}, α₀ = {second_order:g} for {at}, scaled to this scan's)"


def _phrase(method: Method | None) -> str:
    return method.phrase if method else "a method that is not known"


def _parameters(method: Method | None) -> str:
    """Names of a method's parameters in words, with the values in force and their units."""
    listed = ", ".join(map(str, method.parameters)) if method else ""
    return f" ({listed})" if listed else ""


def _needs(method: Method | None, quantity: str) -> bool:
    return method is not None and quantity in method.needs


def _stopping(settings: Mapping[str, Any]) -> str:
    tolerance, most = number(settings.get("tgv_tolerance")), number(settings.get("tgv_iterations"))
    until = f", until the relative change fell below {tolerance:g}" if tolerance else ""
    return f"{until}{f', with at most {most:.0f} iterations' if most else ''}"


def _two_pass(record: ScanRecord) -> str:
    if record.inversion_reliable.skipped:
        return (
            f"No part of the mask with unreliable phase held a source above {APART_PPM:g} ppm, so that no "
            "second inversion without such parts [@stewart2022] was needed."
        )
    if "chi_singlepass" not in record.outputs:
        return ""
    return (
        "Two inversions, one over all voxels of the mask and one without parts of unreliable phase that hold "
        f"a source above {APART_PPM:g} ppm, were combined so that such sources do not disturb their "
        "surroundings [@stewart2022]."
    )


def _reference(record: ScanRecord) -> str:
    reference = record.reference.reference or "mean"
    if reference == "as given":
        return "Susceptibility in ppm is relative to what that program had chosen."
    if reference == "none":
        return "Susceptibility in ppm was not referenced to a region."
    if reference == "brain":
        return "Susceptibility in ppm is relative to its mean over the brain, found in the magnitude."
    if reference == "mean":
        return "Susceptibility in ppm is relative to its mean over the mask."
    if reference == "region":
        return "Susceptibility in ppm is relative to its mean over a supplied region."
    name = _plain(reference.replace("-", " "))
    voxels = record.reference.reference_voxels
    counted = f" ({voxels} voxels)" if voxels else ""
    return f"Susceptibility in ppm is relative to its mean over the labelled region {name}{counted}."


def _plain(value: str) -> str:
    """Keep text of a record from being read as a citation."""
    return value.replace("[@", "[ @")
